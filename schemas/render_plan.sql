-- version 2
CREATE TABLE render_plan (
    image_id  VARCHAR NOT NULL CHECK (length(image_id) = 32),
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    take      INTEGER NOT NULL CHECK (take >= 0),
    seed      BIGINT  NOT NULL CHECK (seed >= 0),
    teacher   VARCHAR NOT NULL,
    bucket    INTEGER NOT NULL CHECK (bucket >= 0),
    round     INTEGER NOT NULL CHECK (round >= 0),
    fixed     BOOLEAN NOT NULL
);
COMMENT ON TABLE render_plan IS 'Which pictures this run wants: kept prompts x takes, balanced by the quotas.';
COMMENT ON COLUMN render_plan.image_id IS 'hash(prompt_id, teacher, take); unique';
COMMENT ON COLUMN render_plan.prompt_id IS 'prompt to render';
COMMENT ON COLUMN render_plan.take IS 'number of the attempt, from 0';
COMMENT ON COLUMN render_plan.seed IS 'first 63 bits of hash(noise_group, take, recipe seed)';
COMMENT ON COLUMN render_plan.teacher IS 'fingerprint of the teacher';
COMMENT ON COLUMN render_plan.bucket IS 'hash bucket of prompt_id: names files, never rows';
COMMENT ON COLUMN render_plan.round IS 'round that wants it, from 0; 0 alone where the recipe has neither rounds nor waves of takes';
COMMENT ON COLUMN render_plan.fixed IS 'whether every take of the prompt is drawn, whatever passes: teachability is measured on these alone';
