-- Who uses the database: the nodes, and a panel that writes sites by SQL. The groups
-- come with `caddy iis sites init`. Passwords, or whatever else tells them apart, are
-- a matter of pg_hba.conf.
select format('create role %I login', name) from unnest(array['iis', 'panel']) as name
where not exists (select from pg_roles where rolname = name) \gexec
grant iis_node to iis;
grant iis_panel to panel;
-- Who forgets an open transaction keeps all other writers waiting.
alter role panel set idle_in_transaction_session_timeout = '30s';
