-- By hand as a whole: drizzle-kit knows no partitions, sequences and functions. The triggers that write here are made from the definitions, with
-- the access policies (src/records/feed.ts).
CREATE SCHEMA "feed";--> statement-breakpoint
-- Positions of events. It is counted on once, so that `last_value` is always one that was given out.
CREATE SEQUENCE "feed"."positions" AS bigint;--> statement-breakpoint
SELECT nextval('feed.positions');--> statement-breakpoint
-- The reader of events that are for everybody.
CREATE FUNCTION "feed"."everybody"() RETURNS uuid LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT '00000000-0000-0000-0000-000000000000'::uuid $$;--> statement-breakpoint
-- `at`: when the transaction began. A transaction has one event per record.
CREATE TABLE "feed"."events" (
  "at" timestamp with time zone NOT NULL,
  "xid" xid8 NOT NULL,
  "kind" text COLLATE "C" NOT NULL,
  "record_id" text COLLATE "C" NOT NULL,
  "reader" uuid NOT NULL,
  "seq" bigint NOT NULL,
  "action" text NOT NULL,
  "version" integer,
  "customer_id" uuid,
  "former_customer_id" uuid,
  "changed" text[] NOT NULL,
  PRIMARY KEY ("at", "xid", "kind", "record_id", "reader")
) PARTITION BY RANGE ("at");--> statement-breakpoint
CREATE INDEX "events_seq" ON "feed"."events" ("seq");--> statement-breakpoint
CREATE INDEX "events_customer" ON "feed"."events" ("customer_id", "seq");--> statement-breakpoint
-- What no partition was made for, should the job that makes them not have run for weeks: a change is never refused for that.
CREATE TABLE "feed"."events_rest" PARTITION OF "feed"."events" DEFAULT;--> statement-breakpoint
-- The last position that was dropped.
CREATE TABLE "feed"."dropped" ("seq" bigint NOT NULL);--> statement-breakpoint
INSERT INTO "feed"."dropped" VALUES (1);--> statement-breakpoint
-- Before a transaction takes its first position, it locks the last one that was given out, shared, until its end: while it is open, a reader
-- sees that positions above that one may still appear. The two numbers of the lock are the upper and lower bits of the position.
CREATE FUNCTION "feed"."open"() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
  own text := pg_current_xact_id()::text;
  last bigint;
BEGIN
  IF current_setting('feed.open', true) IS NOT DISTINCT FROM own THEN RETURN; END IF;
  SELECT last_value INTO last FROM feed.positions;
  PERFORM pg_advisory_xact_lock_shared(1380319232 + (last >> 31)::int, (last & 2147483647)::int);
  PERFORM set_config('feed.open', own, true);
END $$;--> statement-breakpoint
-- The position up to which the feed is complete. The order of the two reads counts: who took a position up to `last` holds its lock by then,
-- or has ended, and is seen by the next statement.
CREATE FUNCTION "feed"."settled"() RETURNS TABLE ("settled" bigint, "dropped" bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  last bigint;
  lowest bigint;
BEGIN
  SELECT p.last_value INTO last FROM feed.positions p;
  SELECT min(((l.classid::bigint - 1380319232) << 31) | l.objid::bigint) INTO lowest FROM pg_locks l
    WHERE l.locktype = 'advisory' AND l.objsubid = 2 AND l.classid::bigint BETWEEN 1380319232 AND 1380319232 + 65535
      AND l.database = (SELECT d.oid FROM pg_database d WHERE d.datname = current_database());
  RETURN QUERY SELECT least(last, lowest), d.seq FROM feed.dropped d;
END $$;--> statement-breakpoint
-- Makes the partitions of the coming weeks, and drops those that end before `kept`. It waits for nobody: whoever waits for the table makes all
-- writers wait behind it.
CREATE FUNCTION "feed"."tend"("present" timestamp with time zone, "kept" timestamp with time zone) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' SET timezone = 'UTC' AS $$
DECLARE
  week timestamptz;
  part text;
  last bigint;
BEGIN
  FOR ahead IN 0..4 LOOP
    week := date_trunc('week', present) + ahead * interval '7 days';
    part := 'events_' || to_char(week, 'YYYYMMDD');
    CONTINUE WHEN to_regclass('feed.' || part) IS NOT NULL;
    BEGIN
      EXECUTE format('CREATE TABLE feed.%I (LIKE feed.events INCLUDING ALL)', part);
      EXECUTE format('ALTER TABLE feed.events ATTACH PARTITION feed.%I FOR VALUES FROM (%L) TO (%L)', part, week, week + interval '7 days');
    EXCEPTION WHEN check_violation THEN NULL; -- Events of that week are in the rest, and stay there.
    END;
  END LOOP;
  FOR part IN
    SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
      WHERE i.inhparent = 'feed.events'::regclass AND c.relname ~ '^events_\d{8}$'
        AND to_date(right(c.relname, 8), 'YYYYMMDD') + 7 <= kept ORDER BY 1
  LOOP
    EXECUTE format('LOCK TABLE feed.%I IN ACCESS EXCLUSIVE MODE', part);
    EXECUTE format('SELECT max(seq) FROM feed.%I', part) INTO last;
    UPDATE feed.dropped SET seq = greatest(seq, last);
    EXECUTE format('DROP TABLE feed.%I', part);
  END LOOP;
  WITH gone AS (DELETE FROM feed.events_rest WHERE at < kept RETURNING seq)
    UPDATE feed.dropped d SET seq = greatest(d.seq, (SELECT max(gone.seq) FROM gone));
END $$;--> statement-breakpoint
SELECT feed.tend(now(), now() - interval '1 day');
