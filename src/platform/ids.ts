import { v7 } from 'uuid';

/** A UUIDv7: sorts by creation and is made by the application, so that a batch knows its ids before it writes. */
export function newId(): string {
  return v7();
}
