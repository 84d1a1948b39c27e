-- version 1
CREATE TABLE pixels (
    image_id VARCHAR NOT NULL CHECK (length(image_id) = 32),
    encoded  BLOB    NOT NULL
);
COMMENT ON TABLE pixels IS 'Encoded pictures, beside images so that queries over images read no pixels.';
COMMENT ON COLUMN pixels.image_id IS 'row of images';
COMMENT ON COLUMN pixels.encoded IS 'lossless WebP';
