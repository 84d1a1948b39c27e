-- version 1
CREATE TABLE rounds (
    round       INTEGER NOT NULL CHECK (round >= 0),
    axis        VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    cell        VARCHAR NOT NULL,
    wanted      BIGINT CHECK (wanted >= 0),
    n_candidates BIGINT NOT NULL CHECK (n_candidates >= 0),
    n_tried     BIGINT NOT NULL CHECK (n_tried >= 0 AND n_tried <= n_candidates),
    n_undecided BIGINT NOT NULL CHECK (n_undecided >= 0 AND n_undecided <= n_tried),
    n_accepted  BIGINT NOT NULL CHECK (n_accepted >= 0),
    acceptance  DOUBLE CHECK (acceptance BETWEEN 0 AND 1),
    low         DOUBLE CHECK (low BETWEEN 0 AND 1),
    high        DOUBLE CHECK (high BETWEEN 0 AND 1),
    n_new       BIGINT NOT NULL CHECK (n_new >= 0),
    n_renders   BIGINT NOT NULL CHECK (n_renders >= 0),
    n_spent     BIGINT NOT NULL CHECK (n_spent >= 0),
    state       VARCHAR NOT NULL CHECK (state IN ('open', 'full', 'exhausted', 'hopeless', 'budget')),
    UNIQUE (round, axis, cell)
);
COMMENT ON TABLE rounds IS 'What each round knew before it began, and what it wanted: one row for each round and cell, the last with nothing to render.';
COMMENT ON COLUMN rounds.round IS 'number of the round, from 0';
COMMENT ON COLUMN rounds.axis IS 'axis of the cell';
COMMENT ON COLUMN rounds.cell IS 'category/length/style as the recipe names it in [select.cells], or rest: the other prompts of the axis';
COMMENT ON COLUMN rounds.wanted IS 'accepted prompts wanted; null: all';
COMMENT ON COLUMN rounds.n_candidates IS 'kept prompts of the cell that may be taken';
COMMENT ON COLUMN rounds.n_tried IS 'of these, prompts with a picture wanted by an earlier round';
COMMENT ON COLUMN rounds.n_undecided IS 'of these, prompts that are not accepted yet and have takes left';
COMMENT ON COLUMN rounds.n_accepted IS 'prompts of those tried that pass; may be more than wanted by what was rendered too much';
COMMENT ON COLUMN rounds.acceptance IS 'share of the prompts that pass, over those of rounds of which every prompt is decided; null before any is';
COMMENT ON COLUMN rounds.low IS 'lower end of its 95% interval';
COMMENT ON COLUMN rounds.high IS 'upper end of its 95% interval';
COMMENT ON COLUMN rounds.n_new IS 'prompts that this round tries for the first time';
COMMENT ON COLUMN rounds.n_renders IS 'pictures that this round wants, further takes included';
COMMENT ON COLUMN rounds.n_spent IS 'pictures that the rounds before this one wanted of this cell';
COMMENT ON COLUMN rounds.state IS 'open; full: enough accepted; exhausted: no candidate left; hopeless: its acceptance is surely under rounds.hopeless_below; budget: something is spent';
