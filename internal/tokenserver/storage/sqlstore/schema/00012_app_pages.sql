-- A page of apps, and how many there are, is found without reading those it does not
-- show.
CREATE INDEX apps_page ON apps (org_id, created_at, client_id) WHERE config = '';
DROP INDEX apps_order;
