-- version 1
CREATE TABLE published (
    prompt_id  VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    split      VARCHAR NOT NULL CHECK (split IN ('train', 'test_words', 'test_composition', 'test_natural')),
    keep_image BOOLEAN NOT NULL,
    image_id   VARCHAR,
    file       VARCHAR,
    file_row   BIGINT CHECK (file_row >= 0)
);
COMMENT ON TABLE published IS 'Where each accepted prompt went in dataset/.';
COMMENT ON COLUMN published.prompt_id IS 'the prompt; unique';
COMMENT ON COLUMN published.split IS 'split of the dataset';
COMMENT ON COLUMN published.keep_image IS 'whether its picture is in data/';
COMMENT ON COLUMN published.image_id IS 'its picture';
COMMENT ON COLUMN published.file IS 'file under dataset/ that holds the picture; null where keep_image is false';
COMMENT ON COLUMN published.file_row IS 'row in that file, from 0';
