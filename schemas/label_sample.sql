-- version 1
CREATE TABLE label_sample (
    sample      VARCHAR NOT NULL,
    image_id    VARCHAR NOT NULL CHECK (length(image_id) = 32),
    question    VARCHAR NOT NULL CHECK (question IN ('quality', 'matches', 'text')),
    gate        VARCHAR NOT NULL,
    stratum     VARCHAR NOT NULL,
    n_stratum   BIGINT NOT NULL CHECK (n_stratum >= 1),
    n_drawn     BIGINT NOT NULL CHECK (n_drawn BETWEEN 1 AND n_stratum),
    probability DOUBLE NOT NULL CHECK (probability > 0 AND probability <= 1)
);
COMMENT ON TABLE label_sample IS 'Which pictures promptforge label asks about, and with what probability each was drawn: labels near thresholds are weighted by its inverse.';
COMMENT ON COLUMN label_sample.sample IS 'name of the sample: hash of gate, question, size and seed';
COMMENT ON COLUMN label_sample.image_id IS 'row of images';
COMMENT ON COLUMN label_sample.question IS 'what is asked, as in labels';
COMMENT ON COLUMN label_sample.gate IS 'gate whose bound the strata lie around';
COMMENT ON COLUMN label_sample.stratum IS 'fail 4 (far) to fail 1 (near the bound), pass 1 to pass 4; a word of the metric; or fail and pass';
COMMENT ON COLUMN label_sample.n_stratum IS 'pictures in the stratum';
COMMENT ON COLUMN label_sample.n_drawn IS 'of these, how many were drawn';
COMMENT ON COLUMN label_sample.probability IS 'probability with which this picture and question came into the sample';
