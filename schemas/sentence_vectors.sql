-- version 1
CREATE TABLE sentence_vectors (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    model     VARCHAR NOT NULL CHECK (length(model) = 32),
    vector    BLOB NOT NULL
);
COMMENT ON TABLE sentence_vectors IS 'What a text encoder made of a prompt, where the recipe compares meanings ([dedup.semantic]). A fact: no prompt is encoded twice by one model.';
COMMENT ON COLUMN sentence_vectors.prompt_id IS 'the prompt, or one that is accepted elsewhere and was compared with';
COMMENT ON COLUMN sentence_vectors.model IS 'digest of the encoder: repository and revision, or the SHA-256 of its files';
COMMENT ON COLUMN sentence_vectors.vector IS 'float16, little-endian, of length 1';
