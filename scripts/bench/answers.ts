import { type Measure, time } from './measure.ts';
import { get } from './stand.ts';

const path = '/v1/metrics/net-promoter-score';
const against = 'select sum(score) from survey_answers';

/** The Net Promoter Score of all time, as multiples of the time it takes to add up all scores. */
export const answers: Measure[] = [
  time({ name: 'nps', title: 'NPS, latest answers', mark: { atMost: 1.5 }, against, shot: () => get(path) }),
  time({
    name: 'nps-all',
    title: 'NPS, all answers',
    mark: { atMost: 1.5 },
    against,
    shot: () => get(`${path}?answers=all`),
  }),
  time({ name: 'nps-staff', title: 'NPS by staff', mark: {}, against, shot: () => get(`${path}?groupBy=staff`) }),
];
