-- version 1
CREATE TABLE prompts (
    row_id           VARCHAR NOT NULL,
    source           VARCHAR NOT NULL,
    source_part      VARCHAR NOT NULL,
    source_row       BIGINT  NOT NULL CHECK (source_row >= 0),
    stream_order     BIGINT  NOT NULL CHECK (stream_order >= 0),
    licence          VARCHAR NOT NULL,
    text             VARCHAR,
    text_clean       VARCHAR,
    prompt_id        VARCHAR CHECK (length(prompt_id) = 32),
    fold_key         VARCHAR CHECK (length(fold_key) = 32),
    repairs          VARCHAR[] NOT NULL,
    axis             VARCHAR CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    axis_origin      VARCHAR CHECK (axis_origin IN ('source', 'told')),
    category         VARCHAR,
    style            VARCHAR,
    template         VARCHAR,
    expected_text    VARCHAR[],
    expected_origin  VARCHAR CHECK (expected_origin IN ('source', 'quoted', 'said')),
    scene            VARCHAR,
    scene_origin     VARCHAR CHECK (scene_origin IN ('source', 'parsed')),
    parent_id        VARCHAR,
    pair_id          VARCHAR,
    noise_group      VARCHAR,
    split_group      VARCHAR,
    split            VARCHAR CHECK (split IN ('train', 'test_words', 'test_composition', 'test_natural', 'mixed')),
    source_aesthetic DOUBLE,
    n_words          INTEGER CHECK (n_words >= 0),
    n_chars          INTEGER CHECK (n_chars >= 0),
    CHECK (text IS NOT NULL OR text_clean IS NULL),
    CHECK ((text_clean IS NULL) = (prompt_id IS NULL)),
    CHECK (text_clean IS NULL OR axis IS NOT NULL)
);
COMMENT ON TABLE prompts IS 'Every input row, one each, also the unreadable ones (text is null, the reason is in verdicts).';
COMMENT ON COLUMN prompts.row_id IS 'hash(source name, sha256 of the source file or revision, row); unique';
COMMENT ON COLUMN prompts.source IS 'name of the source in the recipe';
COMMENT ON COLUMN prompts.source_part IS 'file name inside the source, never its folder; for a virtual source its kind';
COMMENT ON COLUMN prompts.source_row IS 'row in that file, from 0';
COMMENT ON COLUMN prompts.stream_order IS 'place in the run''s stream of candidates; the first to pass are the first accepted';
COMMENT ON COLUMN prompts.licence IS 'licence of the source as the recipe states it; "unstated" where it does not';
COMMENT ON COLUMN prompts.text IS 'the prompt as written; null where the row could not be read';
COMMENT ON COLUMN prompts.text_clean IS 'the prompt as rendered: repaired, NFC, white space collapsed';
COMMENT ON COLUMN prompts.prompt_id IS 'hash(text_clean); unique from exact deduplication on';
COMMENT ON COLUMN prompts.fold_key IS 'hash of text_clean with case, spacing and punctuation folded; equal keys are exact duplicates';
COMMENT ON COLUMN prompts.repairs IS 'what cleaning did: mojibake, html_entity, zero_width, normal_form, white_space';
COMMENT ON COLUMN prompts.axis IS 'what the prompt is for; null for an unreadable row whose source does not say';
COMMENT ON COLUMN prompts.axis_origin IS 'source: a column, flag or recipe says it; told: told from the text';
COMMENT ON COLUMN prompts.category IS 'category within the axis, e.g. color or numeracy';
COMMENT ON COLUMN prompts.style IS 'style or medium, e.g. photograph';
COMMENT ON COLUMN prompts.template IS 'template of a grammar row';
COMMENT ON COLUMN prompts.expected_text IS 'strings to be drawn, in order; empty where none is wanted';
COMMENT ON COLUMN prompts.expected_origin IS 'source: given with the row; quoted, said: parsed from the text';
COMMENT ON COLUMN prompts.scene IS 'JSON of promptforge.records.Scene: objects, counts, colours, relations';
COMMENT ON COLUMN prompts.scene_origin IS 'source: the grammar made the text from it; parsed: read from the text';
COMMENT ON COLUMN prompts.parent_id IS 'what the rewrites of one prompt share within their source, e.g. the prompt_id of the first';
COMMENT ON COLUMN prompts.pair_id IS 'shared by the members of a minimal pair within their source';
COMMENT ON COLUMN prompts.noise_group IS 'hash(source, pair_id), else prompt_id: members start from the same latent';
COMMENT ON COLUMN prompts.split_group IS 'hash of pair or family within the source, else the prompt_id: never torn between splits';
COMMENT ON COLUMN prompts.split IS 'split that the reserved words and combinations demand; mixed: fits neither side';
COMMENT ON COLUMN prompts.source_aesthetic IS 'aesthetic score of the caption''s source picture, as its data set gives it';
COMMENT ON COLUMN prompts.n_words IS 'words of text_clean, split at white space';
COMMENT ON COLUMN prompts.n_chars IS 'code points of text_clean';
