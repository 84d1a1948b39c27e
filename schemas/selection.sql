-- version 1
CREATE TABLE selection (
    row_id        VARCHAR NOT NULL,
    prompt_id     VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    axis          VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    split         VARCHAR NOT NULL CHECK (split IN ('train', 'test_words', 'test_composition', 'test_natural', 'mixed')),
    state         VARCHAR NOT NULL CHECK (state IN ('accepted', 'not_selected', 'not_needed')),
    reason        VARCHAR,
    keep_prompt   BOOLEAN NOT NULL,
    keep_image    BOOLEAN NOT NULL,
    image_id      VARCHAR,
    image_reason  VARCHAR,
    n_takes       INTEGER NOT NULL CHECK (n_takes >= 0),
    n_passed      INTEGER NOT NULL CHECK (n_passed >= 0),
    CHECK (keep_prompt = (state = 'accepted')),
    CHECK (keep_prompt OR NOT keep_image),
    CHECK (NOT keep_image OR image_id IS NOT NULL),
    CHECK ((reason IS NULL) = (state = 'accepted'))
);
COMMENT ON TABLE selection IS 'One row for each prompt that no check dropped: is it accepted, and may its picture be used.';
COMMENT ON COLUMN selection.row_id IS 'row of prompts that stands for the prompt';
COMMENT ON COLUMN selection.prompt_id IS 'the prompt; unique';
COMMENT ON COLUMN selection.axis IS 'axis whose quota it counts for';
COMMENT ON COLUMN selection.split IS 'split of its split_group';
COMMENT ON COLUMN selection.state IS 'accepted; not_selected: a gate or its split group refused it; not_needed: the quota was full before it';
COMMENT ON COLUMN selection.reason IS 'why it is not accepted: a gate, not_rendered, budget_spent or hopeless_cell (no round tried it), quota_full, a cap of [order], split_group_straddles';
COMMENT ON COLUMN selection.keep_prompt IS 'may the trainer see this prompt';
COMMENT ON COLUMN selection.keep_image IS 'may a trainer that consumes pictures see the picture image_id';
COMMENT ON COLUMN selection.image_id IS 'best take: passes most gates, then the earliest; null where nothing was rendered';
COMMENT ON COLUMN selection.image_reason IS 'first gate that the best take fails, render_error or not_rendered';
COMMENT ON COLUMN selection.n_takes IS 'renders of this prompt by this teacher that are in force';
COMMENT ON COLUMN selection.n_passed IS 'of these, how many pass every image gate';
