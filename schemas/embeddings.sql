-- version 1
CREATE TABLE embeddings (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    teacher   VARCHAR NOT NULL,
    name      VARCHAR NOT NULL,
    dtype     VARCHAR NOT NULL,
    shape     INTEGER[] NOT NULL,
    data      BLOB NOT NULL
);
COMMENT ON TABLE embeddings IS 'What the teacher''s text encoders made of a prompt, where the recipe asks for it (regime.store_embeddings): full max length, since FLUX attends to padding.';
COMMENT ON COLUMN embeddings.prompt_id IS 'the prompt';
COMMENT ON COLUMN embeddings.teacher IS 'fingerprint of the teacher, whose max length is in its regime';
COMMENT ON COLUMN embeddings.name IS 'prompt_embeds or pooled_prompt_embeds, the names of diffusers';
COMMENT ON COLUMN embeddings.dtype IS 'torch''s name, e.g. bfloat16';
COMMENT ON COLUMN embeddings.shape IS 'tokens x width, or width';
COMMENT ON COLUMN embeddings.data IS 'row-major, little-endian';
