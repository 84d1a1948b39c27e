-- version 1
CREATE TABLE labels (
    image_id VARCHAR NOT NULL CHECK (length(image_id) = 32),
    question VARCHAR NOT NULL CHECK (question IN ('quality', 'matches', 'text')),
    label    VARCHAR NOT NULL CHECK (label IN ('yes', 'no', 'unsure')),
    rater    VARCHAR NOT NULL
);
COMMENT ON TABLE labels IS 'What a person said of a picture. Of several labels by one rater on one question, the last counts.';
COMMENT ON COLUMN labels.image_id IS 'row of images';
COMMENT ON COLUMN labels.question IS 'quality: is it a clean picture; matches: does it show what the prompt says; text: does it show the wanted text';
COMMENT ON COLUMN labels.label IS 'yes, no or unsure';
COMMENT ON COLUMN labels.rater IS 'who said so: a name, page, or the name of the file of labels';
