/** The present as an RFC 3339 instant in UTC; what is asked for within a millisecond is the same text. */
export function systemClock(): () => string {
  let at = -1;
  let text = '';
  return () => {
    const now = Date.now();
    if (now !== at) {
      at = now;
      text = new Date(now).toISOString();
    }
    return text;
  };
}
