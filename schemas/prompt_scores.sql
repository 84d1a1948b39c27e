-- version 1
CREATE TABLE prompt_scores (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    scorer    VARCHAR NOT NULL,
    digest    VARCHAR NOT NULL CHECK (length(digest) = 32),
    metric    VARCHAR NOT NULL,
    value     DOUBLE,
    detail    VARCHAR,
    validated BOOLEAN NOT NULL
);
COMMENT ON TABLE prompt_scores IS 'Long table of measurements of prompts that need no picture, such as the teacher''s response.';
COMMENT ON COLUMN prompt_scores.prompt_id IS 'the prompt';
COMMENT ON COLUMN prompt_scores.scorer IS 'what measured: response';
COMMENT ON COLUMN prompt_scores.digest IS 'hash(scorer, version, parameters, teacher''s fingerprint, text)';
COMMENT ON COLUMN prompt_scores.metric IS 'name inside the scorer; its unit and range stand in the scorer''s docstring';
COMMENT ON COLUMN prompt_scores.value IS 'the measurement; null where it does not apply';
COMMENT ON COLUMN prompt_scores.detail IS 'JSON or a word';
COMMENT ON COLUMN prompt_scores.validated IS 'whether the measure has been shown to mean what it says on real weights';
