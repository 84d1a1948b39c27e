-- version 1
CREATE TABLE questions (
    prompt_id VARCHAR NOT NULL CHECK (length(prompt_id) = 32),
    place     INTEGER NOT NULL CHECK (place >= 0),
    key       VARCHAR NOT NULL,
    kind      VARCHAR NOT NULL CHECK (kind IN ('object', 'attribute', 'count', 'relation', 'action')),
    text      VARCHAR NOT NULL,
    requires  VARCHAR[] NOT NULL,
    noun      VARCHAR,
    value     VARCHAR,
    other     VARCHAR,
    verified  BOOLEAN NOT NULL,
    origin    VARCHAR NOT NULL CHECK (origin IN ('scene', 'llm'))
);
COMMENT ON TABLE questions IS 'Yes/no questions about the picture of a prompt whose right answer is yes (Davidsonian Scene Graph).';
COMMENT ON COLUMN questions.prompt_id IS 'the prompt';
COMMENT ON COLUMN questions.place IS 'order within the prompt, from 0; what a question requires comes before it';
COMMENT ON COLUMN questions.key IS 'name within the prompt';
COMMENT ON COLUMN questions.kind IS 'what is asked for';
COMMENT ON COLUMN questions.text IS 'the question, in English';
COMMENT ON COLUMN questions.requires IS 'keys whose answer must be yes before this is asked';
COMMENT ON COLUMN questions.noun IS 'thing that is asked about';
COMMENT ON COLUMN questions.value IS 'attribute, number, action or predicate';
COMMENT ON COLUMN questions.other IS 'the relation''s object';
COMMENT ON COLUMN questions.verified IS 'false for what no measure has been shown to judge well: 3D relations and actions';
COMMENT ON COLUMN questions.origin IS 'scene: derived from prompts.scene; llm: parsed from the text by a language model';
