-- SPDX-License-Identifier: Apache-2.0
-- The profile's example users, for a new SQLite database. Their passwords are on its page; yours want a slow hash, as
-- `htpasswd -B` makes it.
CREATE TABLE users (name TEXT PRIMARY KEY, password TEXT NOT NULL, tenant TEXT NOT NULL);
INSERT INTO users VALUES ('alice', '{SHA}N3QvvdxJjDV93w2AHtgldcqD4zw=', 'acme');
INSERT INTO users VALUES ('bob', '{SHA}/jCSnUEkFm1MG2LFPPh7qhnCVDs=', 'acme');
INSERT INTO users VALUES ('gina', '{SHA}EjJPyPyHDQmMgmxUY+zhTeRcraw=', 'globex');
