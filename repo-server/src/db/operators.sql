-- What operators look at: made where it is missing.

CREATE INDEX IF NOT EXISTS audit_by_subject ON audit (subject, audit_id);
-- What the server did by itself is most of the trail.
CREATE INDEX IF NOT EXISTS audit_by_people ON audit (audit_id) WHERE actor <> 'server';
