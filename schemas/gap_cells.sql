-- version 1
CREATE TABLE gap_cells (
    axis            VARCHAR NOT NULL CHECK (axis IN ('image_quality', 'semantic_understanding', 'text_rendering')),
    category        VARCHAR,
    words           VARCHAR NOT NULL CHECK (words IN ('01-05', '06-10', '11-20', '21-40', '41+')),
    n_measured      BIGINT  NOT NULL CHECK (n_measured >= 0),
    gap             DOUBLE  CHECK (gap >= 0),
    estimate        DOUBLE  NOT NULL CHECK (estimate >= 0),
    factor          DOUBLE  NOT NULL CHECK (factor BETWEEN 0.1 AND 10),
    n_candidates    BIGINT  NOT NULL CHECK (n_candidates >= 0),
    candidate_share DOUBLE  NOT NULL CHECK (candidate_share BETWEEN 0 AND 1),
    wanted_share    DOUBLE  NOT NULL CHECK (wanted_share BETWEEN 0 AND 1),
    CHECK ((gap IS NULL) = (n_measured = 0))
);
COMMENT ON TABLE gap_cells IS 'Where [order] has student_gap: each cell of the axes that were measured, how far the student is off there, and its share of the axis.';
COMMENT ON COLUMN gap_cells.axis IS 'axis; one that was not measured, or has no candidates, has no rows';
COMMENT ON COLUMN gap_cells.category IS 'category within the axis; null where prompts have none';
COMMENT ON COLUMN gap_cells.words IS 'length in words, as in the view cells';
COMMENT ON COLUMN gap_cells.n_measured IS 'prompts of this cell that the student was measured on';
COMMENT ON COLUMN gap_cells.gap IS 'mean over these of error / scale, a share of the teacher''s squared velocity; null where none was measured';
COMMENT ON COLUMN gap_cells.estimate IS 'gap drawn towards the axis mean, the more the fewer prompts were measured; the axis mean where none was';
COMMENT ON COLUMN gap_cells.factor IS 'what a row is worth: (estimate / axis mean) to the power of gap_power, within 0.1 and 10';
COMMENT ON COLUMN gap_cells.n_candidates IS 'prompts of this cell in the order; a minimal pair counts in the cell of its first';
COMMENT ON COLUMN gap_cells.candidate_share IS 'their share of the axis';
COMMENT ON COLUMN gap_cells.wanted_share IS 'share of every length of the order, until the cell runs out: candidate_share x factor, the sum brought back to 1; caps may shift it';
