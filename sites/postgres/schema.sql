create schema iis;
create table iis.head (one boolean primary key default true check (one), format int not null default 1,
  source uuid not null default gen_random_uuid(), rev bigint not null default 0,   -- newest revision
  xid xid8 not null default '0', floor bigint not null default 0);                 -- the log is complete above floor
insert into iis.head default values;
create table iis.writer ();             -- the head lock: held by whoever writes, to the end of the transaction
create table iis.site (id bigint primary key check (id between 1 and 4294967295),
  doc jsonb not null check (jsonb_typeof(doc) = 'object' and not doc ? 'id' and octet_length(doc::text) <= 65536),
  rev bigint not null default 0,        -- the revision that made doc
  ok bigint not null default 0,         -- ok = rev: doc is accepted
  good jsonb,                           -- else: the accepted document, null if there is none
  refusal jsonb);                       -- else: null = not judged yet
create index site_open on iis.site (rev, id) where ok <> rev;
create table iis.revision (rev bigint primary key, mark uuid not null unique, at timestamptz not null default clock_timestamp(),
  by text not null, key text unique, answer jsonb);                                -- Idempotency-Key and its answer
create table iis.change (rev bigint, id bigint, before jsonb, good jsonb, was_ok boolean not null default false, after jsonb,
  verdict text check (verdict in ('accepted', 'refused')), primary key (rev, id)); -- accepted before: was_ok ? before : good
create view iis.served as select id, case when ok = rev then doc else good end doc from iis.site where ok = rev or good is not null;
create view iis.refused as select id, rev, doc, good, refusal from iis.site where ok <> rev;

create function iis.write() returns bigint language plpgsql as $$ begin  -- first in transactions that read and then write
  lock table iis.site in row exclusive mode;    -- the order everywhere: site, writer, rows
  lock table iis.writer in exclusive mode;
  return (select rev from iis.head); end $$;
create function iis.next_rev() returns bigint language plpgsql as $$      -- one revision for each transaction, made when needed
declare x text := pg_current_xact_id()::text; s text := current_setting('iis.rev', true); r bigint; begin
  if s = x then                                                                    -- anybody may set that: the number is in the head
    select rev into r from iis.head where xid = pg_current_xact_id();
    if found then return r; end if; end if;
  update iis.head set rev = rev + 1, xid = pg_current_xact_id() returning rev into r;
  insert into iis.revision (rev, mark, by) values (r, coalesce(nullif(current_setting('iis.mark', true), '')::uuid, gen_random_uuid()),
    coalesce(nullif(current_setting('iis.by', true), ''), 'sql') || ' as ' || session_user);
  perform set_config('iis.rev', x, true), pg_notify('iis', r::text);
  return r; end $$;
create function iis.lock() returns trigger language plpgsql as $$ begin
  lock table iis.writer in exclusive mode; return null; end $$;
create function iis.row() returns trigger language plpgsql as $$ begin
  if tg_op = 'INSERT' then
    new.ok := 0; new.good := null; new.refusal := null; new.rev := 0;
    if exists (select from iis.site where id = new.id) then return new; end if;    -- on conflict do update: decided there
    new.rev := iis.next_rev();
    select case when was_ok then before else good end into new.good               -- deleted before in this transaction
      from iis.change where rev = new.rev and id = new.id;
  elsif new.id <> old.id then raise exception 'the id of a site cannot be changed: delete it and insert another';
  elsif new.doc is distinct from old.doc then
    new.rev := iis.next_rev(); new.ok := 0; new.refusal := null;                    -- not old.ok: it may be of this revision
    new.good := case when old.ok = old.rev then old.doc else old.good end;
  else                                                                             -- a verdict, or nothing
    new.rev := old.rev;
    if new.ok not in (old.ok, new.rev) then raise exception 'a verdict is about the newest document'; end if;
    if (new.ok, new.good, new.refusal) is distinct from (old.ok, old.good, old.refusal) then perform iis.next_rev(); end if;
    return new;
  end if;
  if new.doc = new.good then new.ok := new.rev; new.good := null; end if;          -- what serves already needs no judge
  return new; end $$;
create function iis.log() returns trigger language plpgsql as $$ declare r bigint; begin
  select rev into r from iis.head where xid = pg_current_xact_id();
  if tg_op = 'INSERT' then
    if exists (select from n where rev = 0) then                                   -- an old snapshot: repeatable read
      raise exception 'could not serialize access: repeat the transaction' using errcode = '40001'; end if;
    insert into iis.change (rev, id, after, verdict) select r, id, doc, case when ok = rev then 'accepted' end from n
      on conflict (rev, id) do update set after = excluded.after, verdict = excluded.verdict;
  elsif tg_op = 'UPDATE' then
    insert into iis.change select r, id, o.doc, o.good, o.ok = o.rev, n.doc,
        case when n.ok = n.rev then 'accepted' when n.refusal is not null then 'refused' end
      from n join o using (id) where (n.doc, n.ok, n.good, n.refusal) is distinct from (o.doc, o.ok, o.good, o.refusal)
      on conflict (rev, id) do update set after = excluded.after, verdict = excluded.verdict;
  elsif exists (select from o) then
    r := iis.next_rev();
    insert into iis.change select r, id, doc, good, ok = rev from o
      on conflict (rev, id) do update set after = null, verdict = null;
  end if; return null; end $$;
create function iis.truncated() returns trigger language plpgsql as $$ declare r bigint; begin
  lock table iis.writer in exclusive mode;
  r := iis.next_rev();                          -- always: it fails for an old snapshot, which would not see all rows
  insert into iis.change select r, id, doc, good, ok = rev from iis.site on conflict (rev, id) do update set after = null, verdict = null;
  return null; end $$;
create trigger a before insert or update or delete on iis.site for each statement execute function iis.lock();
create trigger a_truncate before truncate on iis.site for each statement execute function iis.truncated();
create trigger b before insert or update on iis.site for each row execute function iis.row();
create trigger c_i after insert on iis.site referencing new table as n for each statement execute function iis.log();
create trigger c_u after update on iis.site referencing old table as o new table as n for each statement execute function iis.log();
create trigger c_d after delete on iis.site referencing old table as o for each statement execute function iis.log();
create function iis.trim(keep interval default '30 days') returns bigint language plpgsql as $$ declare f bigint; begin
  perform iis.write();
  select max(rev) into f from iis.revision where at < clock_timestamp() - greatest(keep, interval '1 hour');
  update iis.head set floor = f where floor < f;
  if not found then return 0; end if;
  delete from iis.change where rev <= f; delete from iis.revision where rev < f;   -- the mark of floor stays
  return f; end $$;
do $$ declare f regprocedure; begin for f in select oid from pg_proc where pronamespace = 'iis'::regnamespace loop
  execute format('alter function %s security definer set search_path = pg_catalog, pg_temp', f);
  execute format('revoke execute on function %s from public', f); end loop; end $$;
