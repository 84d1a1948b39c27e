-- version 1
CREATE TABLE lookalikes (
    image_id    VARCHAR NOT NULL CHECK (length(image_id) = 32),
    other_id    VARCHAR NOT NULL CHECK (length(other_id) = 32),
    same_prompt BOOLEAN NOT NULL,
    hamming     INTEGER NOT NULL CHECK (hamming BETWEEN 0 AND 64),
    cosine      DOUBLE,
    CHECK (image_id < other_id)
);
COMMENT ON TABLE lookalikes IS 'Pairs of pictures that look alike: by perceptual hash, then by CLIP where the recipe has it.';
COMMENT ON COLUMN lookalikes.image_id IS 'row of images';
COMMENT ON COLUMN lookalikes.other_id IS 'row of images; the larger id of the two';
COMMENT ON COLUMN lookalikes.same_prompt IS 'takes of one prompt, or pictures of two';
COMMENT ON COLUMN lookalikes.hamming IS 'bits of 64 in which the perceptual hashes differ';
COMMENT ON COLUMN lookalikes.cosine IS 'cosine of the CLIP embeddings, in [-1, 1]; null where there are none';
