const dayLength = 86_400_000;

/**
 * The days of the year, as month × 100 + day, whose next return is so many days away that `holds`: 0 is today. 29 February
 * returns on 28 February in common years.
 *
 * @param today `YYYY-MM-DD`
 */
export function daysThatReturn(today: string, holds: (distance: number) => boolean): number[] {
  const start = Date.parse(today);
  const nearest = new Map<number, number>();
  for (let distance = 0; distance <= 366; distance += 1) {
    for (const day of returningOn(new Date(start + distance * dayLength))) {
      if (!nearest.has(day)) nearest.set(day, distance);
    }
  }
  return [...nearest].flatMap(([day, distance]) => (holds(distance) ? [day] : []));
}

function returningOn(date: Date): number[] {
  const month = date.getUTCMonth() + 1;
  const day = date.getUTCDate();
  const own = month * 100 + day;
  const isLastOfFebruary = new Date(date.getTime() + dayLength).getUTCMonth() === 2;
  return own === 228 && isLastOfFebruary ? [228, 229] : [own];
}

/** Days from a date to its next return, not on the day itself. */
export function daysToFirstReturn(date: string): number {
  const start = new Date(Date.parse(date));
  const day = (start.getUTCMonth() + 1) * 100 + start.getUTCDate();
  let distance = 1;
  while (!returningOn(new Date(start.getTime() + distance * dayLength)).includes(day)) distance += 1;
  return distance;
}
