-- version 1
CREATE TABLE student_gap (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    axis      VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    category  VARCHAR,
    split     VARCHAR NOT NULL CHECK (split IN ('train', 'test_words', 'test_composition', 'test_natural')),
    length    VARCHAR NOT NULL CHECK (length IN ('01-05', '06-10', '11-20', '21-40', '41+')),
    n_words   INTEGER NOT NULL CHECK (n_words >= 0),
    noise     INTEGER NOT NULL CHECK (noise >= 0),
    step      INTEGER NOT NULL CHECK (step >= 0),
    timestep  DOUBLE  NOT NULL CHECK (timestep >= 0),
    error     DOUBLE  NOT NULL CHECK (isfinite(error) AND error >= 0),
    scale     DOUBLE  NOT NULL CHECK (isfinite(scale) AND scale >= 0),
    blank     DOUBLE  NOT NULL CHECK (isfinite(blank) AND blank >= 0)
);
COMMENT ON TABLE student_gap IS 'How far a student''s prediction is from its teacher''s: one row for each prompt, noise and step of the schedule, along the teacher''s own path. promptforge evaluate writes it to evaluation/student_gap.parquet.';
COMMENT ON COLUMN student_gap.prompt_id IS 'prompt of the published data set';
COMMENT ON COLUMN student_gap.axis IS 'its axis';
COMMENT ON COLUMN student_gap.category IS 'its category; null where it has none';
COMMENT ON COLUMN student_gap.split IS 'its split';
COMMENT ON COLUMN student_gap.length IS 'its length in words, in the bands of the view cells';
COMMENT ON COLUMN student_gap.n_words IS 'its length in words';
COMMENT ON COLUMN student_gap.noise IS 'number of the noise, from 0; with the prompt''s noise group and the evaluation''s seed it decides the starting latent';
COMMENT ON COLUMN student_gap.step IS 'step of the teacher''s schedule, from 0, the noisiest';
COMMENT ON COLUMN student_gap.timestep IS 'the scheduler''s timestep at that step: 1000 is noise, 0 the picture';
COMMENT ON COLUMN student_gap.error IS 'mean over the latent of the squared difference of student''s and teacher''s velocity: the loss of the training';
COMMENT ON COLUMN student_gap.scale IS 'mean over the latent of the teacher''s squared velocity; error / scale is a share';
COMMENT ON COLUMN student_gap.blank IS 'error of the teacher''s own velocity under the empty prompt: what the prompt changes at all';
