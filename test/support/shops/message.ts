/** One webhook of a shop, as its public documentation describes it; all people are invented. */
export interface Message {
  /** The situation that the payload stands for. */
  says: string;
  topic: string;
  payload: any;
  /** How it is refused, as it contradicts itself. */
  refused?: { status: number; code: string };
  /** What else the answer says, where it is not plain success. */
  answers?: { status?: number; applied?: boolean };
  /** The status when it comes a second time. Default: 200. */
  again?: number;
  /** Codes of the warnings that the answer carries. */
  warns?: string[];
}
