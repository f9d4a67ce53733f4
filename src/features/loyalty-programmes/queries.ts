import { type SQL, sql } from 'drizzle-orm';
import type { LoyaltyRules } from '../../domain/loyalty-earning.ts';
import { isBefore } from '../../domain/period.ts';
import { type Db, fields, param, statement } from '../../platform/db/client.ts';
import { canonicalInstant } from '../../platform/db/columns.ts';
import { notFound, Problem, problemType } from '../../platform/errors.ts';
import { answeredMembers } from '../../records/table.ts';
import { type LoyaltyProgramme, loyaltyProgrammes, programmeFields } from './record.ts';

export const programmeNotPublished = problemType('programme_not_published', 409, 'The programme is not published');

/** What a programme says, and said. */
export interface ProgrammeRules {
  id: string;
  /** From here on nothing is earned; null: it has not ended. */
  endedAt: string | null;
  /** By number, which is also by `validFrom`. None: a draft. */
  versions: { number: number; validFrom: string; rules: LoyaltyRules }[];
}

/** What `programmeRulesJson` answers, for `readProgrammeRules`. */
export type ProgrammeRulesJson = [
  endedAt: string | null,
  versions: [number: number, validFrom: string, rules: LoyaltyRules][] | null,
];

/** The rules of a programme as one JSON value, to be read beside something else; `readProgrammeRules` reads it. */
export function programmeRulesJson(programmeId: SQL): SQL {
  return sql`(select json_build_array(rp.ended_at::text,
      (select json_agg(json_build_array(rv.number, rv.valid_from::text, rv.rules) order by rv.number)
        from loyalty_programme_versions rv where rv.programme_id = rp.id))
    from loyalty_programmes rp where rp.id = ${programmeId})`;
}

export function readProgrammeRules(id: string, [endedAt, versions]: ProgrammeRulesJson): ProgrammeRules {
  return {
    id,
    endedAt: endedAt === null ? null : canonicalInstant(endedAt),
    versions: (versions ?? []).map(([number, validFrom, rules]) => ({
      number,
      validFrom: canonicalInstant(validFrom),
      rules,
    })),
  };
}

const rulesByIds = statement<{ id: string; found: ProgrammeRulesJson }>(
  'rules_of_programmes',
  sql`select p.id, ${programmeRulesJson(sql`p.id`)} as found from loyalty_programmes p where p.id = any(${param('ids')}::uuid[])`,
);

/** The rules of these programmes, those that there are; one statement. */
export async function rulesOf(db: Db, programmeIds: string[]): Promise<Map<string, ProgrammeRules>> {
  const rows = await db.all(rulesByIds, { ids: [...new Set(programmeIds)] });
  return new Map(rows.map(({ id, found }) => [id, readProgrammeRules(id, found)]));
}

/** The version in force at `t`: the latest with `validFrom` ≤ t, whether the programme has ended or not; null before the first. */
export function versionAt(programme: ProgrammeRules, t: string): ProgrammeRules['versions'][number] | null {
  return programme.versions.findLast(({ validFrom }) => !isBefore(t, validFrom)) ?? null;
}

/** The rules in force at `t`; null before the first version. `endedAt` is the caller's to look at. */
export function rulesAt(programme: ProgrammeRules, t: string): LoyaltyRules | null {
  return versionAt(programme, t)?.rules ?? null;
}

/** @throws Problem programme_not_published: no version is in force */
export function versionInForce(programme: ProgrammeRules, now: string): ProgrammeRules['versions'][number] {
  const version = versionAt(programme, now);
  if (!version) throw new Problem(programmeNotPublished, 'No version of its rules is in force yet.');
  return version;
}

export type ProgrammeRow = typeof loyaltyProgrammes.$inferSelect;

export interface ProgrammeRecord extends ProgrammeRow {
  /** Of the version in force now; null: there is none. */
  currentNumber: number | null;
  currentFrom: string | null;
}

/** The select list of a programme and its version in force at `now`; for `withVersionInForce`. */
export function programmeColumns(now: SQL): SQL {
  // What is valid later has the higher number.
  const current = (column: string) =>
    sql`(select v.${sql.identifier(column)} from loyalty_programme_versions v where v.programme_id = ${loyaltyProgrammes.id} and v.valid_from <= ${now}::timestamptz
      order by v.number desc limit 1)`;
  return sql`${fields(loyaltyProgrammes)}, ${current('number')} as "currentNumber", ${current('valid_from')} as "currentFrom"`;
}

export function withVersionInForce({ currentNumber, currentFrom, ...row }: ProgrammeRecord): LoyaltyProgramme {
  const isInForce = currentNumber !== null && currentFrom !== null;
  return {
    ...answeredMembers(programmeFields, row),
    currentVersion: isInForce ? { number: currentNumber, validFrom: currentFrom } : null,
  };
}

const byIds = statement<ProgrammeRecord>(
  'loyalty_programmes_by_ids',
  sql`select ${programmeColumns(param('now'))} from ${loyaltyProgrammes} where ${loyaltyProgrammes.id} = any(${param('ids')}::uuid[])`,
);
// Foreign keys of members and rewards are not disturbed.
const lockedById = statement<ProgrammeRecord>(
  'locked_loyalty_programme',
  sql`select ${programmeColumns(param('now'))} from ${loyaltyProgrammes} where ${loyaltyProgrammes.id} = ${param('id')}::uuid for no key update`,
);

/** Programmes by id; absent ones are absent. */
export async function programmesByIds(db: Db, ids: string[], now: string): Promise<Map<string, ProgrammeRecord>> {
  return new Map((await db.all(byIds, { ids, now })).map((record) => [record.id, record]));
}

/** @throws Problem not_found */
export async function programmeById(
  db: Db,
  id: string,
  now: string,
  options: { lock?: boolean } = {},
): Promise<ProgrammeRecord> {
  const record = options.lock
    ? await db.first(lockedById, { id, now })
    : (await programmesByIds(db, [id], now)).get(id);
  if (!record) throw notFound('loyalty programme');
  return record;
}
