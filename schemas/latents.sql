-- version 1
CREATE TABLE latents (
    image_id VARCHAR NOT NULL CHECK (length(image_id) = 32),
    dtype    VARCHAR NOT NULL,
    shape    INTEGER[] NOT NULL,
    data     BLOB NOT NULL
);
COMMENT ON TABLE latents IS 'Final latents of pictures, where the recipe asks for them (regime.store_latents).';
COMMENT ON COLUMN latents.image_id IS 'row of images';
COMMENT ON COLUMN latents.dtype IS 'torch''s name, e.g. bfloat16';
COMMENT ON COLUMN latents.shape IS 'channels, height, width; unpacked, as the VAE''s decoder scales and shifts it';
COMMENT ON COLUMN latents.data IS 'row-major, little-endian';
