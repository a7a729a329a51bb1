-- What people did, for the audit of all sagas: a few records among millions.
CREATE INDEX records_acted ON records (position) WHERE type = 'OperatorActed';
