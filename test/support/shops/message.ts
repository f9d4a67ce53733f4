/** One webhook of a shop, as its public documentation describes it; all people are invented. */
export interface Message {
  /** The situation that the payload stands for. */
  says: string;
  topic: string;
  payload: any;
  /** The codes of a refusal, for what contradicts itself. */
  refused?: { status: number; code: string };
  /** Codes of the warnings that the answer carries. */
  warns?: string[];
}
