import type { z } from 'zod';
import type { surveyAnswerInput, surveyResponseInput } from '../../src/features/survey-responses/record.ts';
import type { surveyInput } from '../../src/features/surveys/record.ts';
import { type Random, seededRandom } from './random.ts';
import { days, instantOf, type Store } from './store.ts';

/** What the shop's customers say: after a purchase, and after they had to ask for help. */

type Answers = z.input<typeof surveyAnswerInput>[];

export const afterPurchase: z.input<typeof surveyInput> = {
  name: 'After the purchase',
  status: 'open',
  journeyStage: 'delivery',
  channel: 'email',
  language: 'en',
  settings: {
    contactFrequencyDays: 60,
    answerWithinDays: 14,
    linkDays: 60,
    triggers: [{ on: 'order_fulfilled', delayDays: 7 }],
    followUp: { withinDays: 3, owner: 'maria' },
  },
  questions: [
    { key: 'recommend', type: 'nps', text: 'How likely are you to recommend us to a friend?', required: true },
    { key: 'why', type: 'text', text: 'Why this score?' },
    { key: 'delivery', type: 'csat', text: 'How satisfied are you with the delivery?' },
  ],
};

export const afterSupport: z.input<typeof surveyInput> = {
  name: 'After a call for help',
  status: 'open',
  journeyStage: 'support',
  channel: 'phone',
  language: 'en',
  questions: [
    { key: 'effort', type: 'ces', text: 'How easy was it to get help?', required: true },
    { key: 'solved', type: 'csat', text: 'How satisfied are you with the answer?', required: true },
  ],
};

const praise = ['Fresh and quick.', 'The decaf tastes of coffee.', 'A note by hand in the parcel.', 'Always friendly.'];
const shrugs = ['Fine, a bit expensive.', 'Good coffee, slow parcel.', 'The site could be simpler.'];
const complaints = ['Arrived ten days late.', 'The cup was broken.', 'Nobody answered my mail.', 'Too expensive.'];

/** What becomes of one invitation; `null`: nobody answers. */
export interface Reaction {
  status: 'complete' | 'partial' | 'dismissed';
  answers: Answers;
  /** Answers when it is too late for the numbers. */
  late: boolean;
}

/** What the buyer of an order makes of being asked. The same order always gets the same reaction, whoever is asked first. */
export function react(seed: number, order: string, wentWrong: boolean): Reaction | null {
  const random = seededRandom(seed * 1_000_003 + Number(order.replace(/\D/g, '')));
  if (!random.chance(wentWrong ? 0.55 : 0.34)) return null;
  if (random.chance(0.04)) return { status: 'dismissed', answers: [], late: false };
  const score = recommendation(random, wentWrong);
  const words = score >= 9 ? praise : score >= 7 ? shrugs : complaints;
  const recommend = { question: 'recommend', score };
  const late = random.chance(0.03);
  if (random.chance(0.07)) return { status: 'partial', answers: [recommend], late };
  const delivery = Math.max(1, Math.min(5, Math.round(score / 2) + (random.chance(0.3) ? -1 : 0)));
  return {
    status: 'complete',
    answers: [
      recommend,
      ...(random.chance(0.6) ? [{ question: 'why', text: random.pick(words) }] : []),
      { question: 'delivery', score: delivery },
    ],
    late,
  };
}

function recommendation(random: Random, wentWrong: boolean): number {
  const band = random.weighted(
    wentWrong
      ? ([
          ['low', 60],
          ['middle', 25],
          ['high', 15],
        ] as const)
      : ([
          ['low', 16],
          ['middle', 29],
          ['high', 55],
        ] as const),
  );
  if (band === 'high') return random.integer(9, 10);
  return band === 'middle' ? random.integer(7, 8) : random.integer(0, 6);
}

const staff = ['jo', 'maria', 'tom'] as const;
/** How many of a hundred callers find it easy with each. */
const ease = { jo: 0.8, maria: 0.72, tom: 0.5 } as const;

/** Calls for help in the last year, as the telephone system would send them. */
export function inventCalls(seed: number, store: Store): z.input<typeof surveyResponseInput>[] {
  const random = seededRandom(seed + 4);
  const callers = store.people.filter(({ guest, since }) => !guest && since < days - 30);
  return Array.from({ length: Math.ceil(callers.length / 9) }, (_, index) => {
    const caller = random.pick(callers);
    const who = random.pick(staff);
    const easy = random.chance(ease[who]);
    const effort = easy ? random.integer(1, 2) : random.integer(3, 5);
    const day = random.integer(Math.max(caller.since + 1, days - 365), days - 1);
    return {
      submissionId: `call-${index + 1}`,
      answeredAt: instantOf(day, random.integer(9, 17), random),
      // Some hang up before they are known.
      ...(random.chance(0.9) && { customer: { source: 'shop', externalId: caller.externalId } }),
      staff: who,
      department: 'support',
      process: random.pick(['returns', 'delivery', 'invoice']),
      answers: [
        { question: 'effort', score: effort },
        { question: 'solved', score: Math.max(1, Math.min(5, 6 - effort + random.integer(-1, 1))) },
      ],
    };
  });
}
