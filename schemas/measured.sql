-- version 1
CREATE TABLE measured (
    image_id VARCHAR NOT NULL CHECK (length(image_id) = 32),
    scorer   VARCHAR NOT NULL,
    digest   VARCHAR NOT NULL CHECK (length(digest) = 32)
);
COMMENT ON TABLE measured IS 'Which scores are in force: scores are facts, and one picture may have some of an earlier version or setting.';
COMMENT ON COLUMN measured.image_id IS 'row of images';
COMMENT ON COLUMN measured.scorer IS 'module of scorers/';
COMMENT ON COLUMN measured.digest IS 'digest of the scores in force';
