/*
 * How names, e-mails, phones and references become words to search by, and how a search becomes the beginnings of such words. Case
 * and diacritics are folded; letters of other scripts stay as they are.
 */

const accents = /([\p{Script=Latin}\p{Script=Greek}])\p{M}+/gu;
/** Letters that Unicode does not take for others with marks. */
const others: Readonly<Record<string, string>> = {
  ß: 'ss',
  æ: 'ae',
  œ: 'oe',
  ø: 'o',
  đ: 'd',
  ð: 'd',
  ł: 'l',
  þ: 'th',
  ı: 'i',
  ς: 'σ',
  ё: 'е',
};
const other = new RegExp(`[${Object.keys(others).join('')}]`, 'gu');
const invisible = /[\p{Cf}\p{Default_Ignorable_Code_Point}]/gu;

/** `Novák` → `novak`, `ŽOFIE` → `zofie`, `Straße` → `strasse`; `Анна` → `анна`. */
export function folded(text: string): string {
  return text
    .replace(invisible, '')
    .normalize('NFKD')
    .toLowerCase()
    .normalize('NFKD')
    .replace(accents, '$1')
    .normalize('NFC')
    .replace(other, (letter) => others[letter] ?? letter);
}

/** Longer words are found by their beginning. */
const longestWord = 60;
const edges = /^[^\p{L}\p{N}]+|[^\p{L}\p{N}]+$/gu;
const inner = /[^\p{L}\p{N}\p{M}]+/u;

function cut(word: string): string {
  return [...word].slice(0, longestWord).join('');
}

/** `O'Brien-Smith` is found as it is, by `brien`, by `smith`, and by `obriensmith`. */
function wordsOfText(text: string): string[] {
  return folded(text)
    .split(/\s+/)
    .map((word) => word.replace(edges, ''))
    .filter((word) => word !== '')
    .flatMap((word) => [word, ...partsOf(word)]);
}

/** Words inside of a word; single letters find too much. */
function partsOf(word: string): string[] {
  const parts = word.split(inner);
  if (parts.length < 2) return [];
  return [...parts.filter((part) => [...part].length > 1), parts.join('')];
}

/** What a customer is known by. */
export interface Known {
  names: readonly (string | null)[];
  emails: readonly string[];
  /** E.164, with `;ext=`, and the same without the code of the country. */
  phones: readonly { number: string; national: string }[];
  handles: readonly string[];
  references: readonly string[];
}

/** The most words that are kept of a customer. */
const mostWords = 200;

/** The words that a customer is found by; true: it is a word of a name. */
export function searchWords({ names, emails, phones, handles, references }: Known): Map<string, boolean> {
  const words = new Map<string, boolean>();
  const add = (word: string, ofName = false) => {
    const kept = cut(word);
    if (kept !== '' && (words.size < mostWords || words.has(kept))) words.set(kept, ofName || words.get(kept) === true);
  };
  for (const name of names) for (const word of wordsOfText(name ?? '')) add(word, true);
  for (const email of emails) {
    const whole = folded(email);
    const at = whole.lastIndexOf('@');
    add(whole);
    add(whole.slice(at + 1));
    for (const part of partsOf(whole.slice(0, at))) add(part);
  }
  for (const { number, national } of phones) for (const one of [number, national]) add(one.replace(/\D/g, ''));
  for (const text of [...handles, ...references]) for (const word of wordsOfText(text)) add(word);
  return words;
}

/** The most words of a search; more of them find nobody else. */
const mostAsked = 8;

/**
 * What a search asks for: for each of its words the beginnings that are as good, of which a word of the customer has to have one.
 * A number is a phone, however it is spaced, or a reference.
 */
export function askedWords(q: string): string[][] {
  const text = folded(q).trim();
  if (/^[+\d\s()./-]+$/.test(text) && /\d/.test(text)) return [askedNumber(text)];
  const words = text
    .split(/\s+/)
    .map((word) => word.replace(edges, ''))
    .filter((word) => word !== '');
  return [...new Set(words)].slice(0, mostAsked).map((word) => [cut(word)]);
}

function askedNumber(text: string): string[] {
  const digits = text.replace(/\D/g, '');
  const typed = text.replace(/\s+/g, '').replace(edges, '');
  // 0049 30 …, 030 …: as they are dialled.
  const dialled = /^\s*\+/.test(text) ? digits : digits.replace(/^00?/, '');
  return [...new Set([digits, typed, dialled])].filter((one) => one !== '').map(cut);
}

/**
 * How many letters have to be changed, left out, added or swapped with the next one to make one word of the other (optimal string
 * alignment); more than `most` is `most` + 1.
 */
export function editDistance(one: string, two: string, most: number): number {
  const a = [...one];
  const b = [...two];
  if (Math.abs(a.length - b.length) > most) return most + 1;
  let before: number[] = [];
  let last = b.map((_, index) => index).concat(b.length);
  for (let i = 1; i <= a.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= b.length; j += 1) {
      const changed = a[i - 1] === b[j - 1] ? 0 : 1;
      let least = Math.min((row[j - 1] ?? 0) + 1, (last[j] ?? 0) + 1, (last[j - 1] ?? 0) + changed);
      const swaps = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (swaps) least = Math.min(least, (before[j - 2] ?? 0) + 1);
      row.push(least);
    }
    before = last;
    last = row;
  }
  return Math.min(last.at(-1) ?? 0, most + 1);
}

/** How many typing errors a word of this length may have. */
export function typingErrors(word: string): number {
  const { length } = [...word];
  if (length < 4 || !/^[\p{L}\p{M}'-]+$/u.test(word)) return 0;
  return length < 7 ? 1 : 2;
}
