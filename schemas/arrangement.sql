-- version 1
CREATE TABLE arrangement (
    row_id    VARCHAR NOT NULL,
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    axis      VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    place     BIGINT  NOT NULL CHECK (place >= 1),
    turn      BIGINT  NOT NULL CHECK (turn >= 1),
    block     BIGINT  NOT NULL CHECK (block >= 0),
    gain      DOUBLE  CHECK (gain >= 0),
    held      VARCHAR CHECK (held IN ('source_cap', 'template_cap')),
    left_over BOOLEAN NOT NULL,
    CHECK (held IS NOT NULL OR NOT left_over)
);
COMMENT ON TABLE arrangement IS 'The order in which prompts are taken where the recipe has [order]: one row for each prompt that no check dropped and whose split group lies in one split.';
COMMENT ON COLUMN arrangement.row_id IS 'row of prompts';
COMMENT ON COLUMN arrangement.prompt_id IS 'its prompt';
COMMENT ON COLUMN arrangement.axis IS 'axis in whose order it stands';
COMMENT ON COLUMN arrangement.place IS 'place in that order, from 1 without gaps; a quota takes the first that pass';
COMMENT ON COLUMN arrangement.turn IS 'place that it would have without caps';
COMMENT ON COLUMN arrangement.block IS 'block of the stream, from 0; members of a minimal pair are in the block of the first';
COMMENT ON COLUMN arrangement.gain IS 'what it added to the covered concepts at its turn, in weights; of a minimal pair all members share one; null by = "stream"';
COMMENT ON COLUMN arrangement.held IS 'cap that it had to wait for; null where it came in its turn';
COMMENT ON COLUMN arrangement.left_over IS 'it could only come by breaking the cap: it stands behind all others and is never taken';
