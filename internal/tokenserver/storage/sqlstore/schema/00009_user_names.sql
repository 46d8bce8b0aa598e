-- Go code beside this file (refold.go) then folds users.name anew.
CREATE INDEX users_listing ON users (org_id, created_at, id);
