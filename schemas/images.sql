-- version 2
CREATE TABLE images (
    image_id  VARCHAR NOT NULL CHECK (length(image_id) = 32),
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    take      INTEGER NOT NULL CHECK (take >= 0),
    seed      BIGINT  NOT NULL CHECK (seed >= 0),
    teacher   VARCHAR NOT NULL,
    regime    VARCHAR NOT NULL,
    licence   VARCHAR NOT NULL,
    provenance VARCHAR NOT NULL,
    width     INTEGER CHECK (width > 0),
    height    INTEGER CHECK (height > 0),
    sha256    VARCHAR CHECK (length(sha256) = 64),
    error     VARCHAR,
    truth     VARCHAR,
    CHECK ((error IS NULL) = (sha256 IS NOT NULL))
);
COMMENT ON TABLE images IS 'Every render, also the failed ones (error is set). Its pixels are in the table pixels.';
COMMENT ON COLUMN images.image_id IS 'hash(prompt_id, teacher, take); unique';
COMMENT ON COLUMN images.prompt_id IS 'prompt that was rendered';
COMMENT ON COLUMN images.take IS 'number of the attempt, from 0';
COMMENT ON COLUMN images.seed IS 'seed of the starting noise';
COMMENT ON COLUMN images.teacher IS 'fingerprint of the teacher: model, revision, size, steps, versions';
COMMENT ON COLUMN images.regime IS 'JSON of the teacher''s settings behind the fingerprint';
COMMENT ON COLUMN images.licence IS 'licence of the teacher''s pictures';
COMMENT ON COLUMN images.provenance IS 'JSON of what may move bits besides the regime (machine, torch, GPU, attention, compile mode) and what this picture alone needed (notes)';
COMMENT ON COLUMN images.width IS 'pixels; null where the render failed';
COMMENT ON COLUMN images.height IS 'pixels; null where the render failed';
COMMENT ON COLUMN images.sha256 IS 'SHA-256 of the encoded picture; null where the render failed';
COMMENT ON COLUMN images.error IS 'why there is no picture';
COMMENT ON COLUMN images.truth IS 'JSON of what an embedded teacher knows it did wrong; never an input of a scorer';
