import type { TestApp } from './app.ts';
import { fresh } from './shop.ts';

/** A survey with a question of every type, and responses to it, for tests that care about one member of them. */

export const recommend = { key: 'recommend', type: 'nps', text: 'How likely are you to recommend us?', required: true };
export const content = { key: 'content', type: 'csat', text: 'How content are you?' };
export const effort = { key: 'effort', type: 'ces', text: 'How easy was it?' };
export const again = { key: 'again', type: 'nps', text: 'And a year from now?' };
export const one = {
  key: 'one',
  type: 'single_choice',
  text: 'What mattered most?',
  options: [
    { key: 'price', label: 'The price' },
    { key: 'speed', label: 'The speed' },
  ],
};
export const many = { ...one, key: 'many', type: 'multiple_choice' };
export const why = { key: 'why', type: 'text', text: 'Why?' };
const questions = [recommend, content, effort, again, one, many, why];

/** An open survey with all questions above. */
export async function makeSurvey({ request }: Pick<TestApp, 'request'>, members: object = {}) {
  const { status, body } = await request('POST', '/v1/surveys', {
    body: { name: 'After the purchase', status: 'open', questions, ...members },
  });
  if (status !== 201) throw new Error(JSON.stringify(body));
  return body;
}

export const responseOf = (members: object = {}) => ({
  submissionId: fresh('form'),
  answeredAt: '2026-05-01T10:00:00.000Z',
  answers: [{ question: 'recommend', score: 9 }],
  ...members,
});
