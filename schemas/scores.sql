-- version 1
CREATE TABLE scores (
    image_id VARCHAR NOT NULL CHECK (length(image_id) = 32),
    scorer   VARCHAR NOT NULL,
    digest   VARCHAR NOT NULL CHECK (length(digest) = 32),
    metric   VARCHAR NOT NULL,
    value    DOUBLE,
    detail   VARCHAR
);
COMMENT ON TABLE scores IS 'Long table of measurements: a new scorer needs no schema change.';
COMMENT ON COLUMN scores.image_id IS 'row of images';
COMMENT ON COLUMN scores.scorer IS 'module of scorers/';
COMMENT ON COLUMN scores.digest IS 'hash(scorer, its version, parameters and models, and the prompt fields it read)';
COMMENT ON COLUMN scores.metric IS 'name inside the scorer; its unit and range stand in the scorer''s docstring';
COMMENT ON COLUMN scores.value IS 'the measurement; null where it does not apply';
COMMENT ON COLUMN scores.detail IS 'JSON or a word: a reading, boxes, a verdict';
