/** Who owns what after a sequence of messages: the rules of 'Who is who', told anew. It shares no code with the service. */

export interface Message {
  /** An order; a visit of a site; a customer document. */
  kind: 'order' | 'visit' | 'document';
  source: string;
  account?: string | undefined;
  email?: string | undefined;
  phone?: string | undefined;
  name?: string | undefined;
  /** Of a document: an account of the other shop as well. */
  second?: string | undefined;
}

export class People {
  readonly accounts = new Map<string, Person>();
  readonly owners = new Map<string, Person>();
  readonly all = new Set<Person>();

  /** The message without its second account, if that is somebody else's. */
  possible(message: Message): Message {
    const owner = message.second ? this.accounts.get(message.second) : undefined;
    return owner && owner !== this.ownerOf(message) ? { ...message, second: undefined } : message;
  }

  ownerOf({ source, account, email, second }: Message): Person | undefined {
    const known = this.accounts.get(`${source}/${account}`);
    if (known && !known.isVisitor) return known;
    const found = email ? this.owners.get(email) : undefined;
    if (known) return found ?? known;
    return found?.hasOther([`${source}/${account}`, ...(second ? [second] : [])]) ? undefined : found;
  }

  isKnownByName({ source, account, email }: Message): boolean {
    const known = this.accounts.get(`${source}/${account}`);
    const found = email ? this.owners.get(email) : undefined;
    return known !== undefined && found !== undefined && known !== found && known.isOnlyNamed;
  }

  /** @returns whose message it is, or null for one that cannot be */
  take({ kind, source, account, email, phone, name: told, second }: Message): Person | null {
    const name = account && `${source}/${account}`;
    const names = [name, second].filter((one) => one !== undefined);
    const asks = email ?? (name ? undefined : phone);
    if (!name && !asks) return null;
    const known = name ? this.accounts.get(name) : undefined;
    const found = asks ? this.owners.get(asks) : undefined;
    let person = known;
    if (known && found && known !== found && known.isVisitor) {
      for (const one of known.accounts) this.accounts.set(one, found);
      found.accounts.push(...known.accounts);
      this.all.delete(known);
      person = found;
    } else if (!known && found) {
      if (!found.hasOther(names)) person = found;
    }
    const isNew = person === undefined;
    person ??= new Person();
    // A document replaces what its reference has told; one that joins a customer has told nothing of it yet.
    if (told && (isNew || kind === 'document')) person.isNamed = true;
    else if (kind === 'document' && person === known) person.isNamed = false;
    this.all.add(person);
    for (const one of names) {
      if (this.accounts.has(one)) continue;
      this.accounts.set(one, person);
      person.accounts.push(one);
    }
    const bringer = name ?? 'nobody';
    const values = [email, phone].filter((value) => value !== undefined);
    if (kind === 'document') this.#clear(person, bringer, values);
    for (const value of values) {
      const known = person.has.get(value);
      if (!this.owners.has(value) && (!known || kind === 'document')) this.owners.set(value, person);
      person.has.set(value, (known ?? new Set()).add(bringer));
    }
    if (kind === 'order') person.orders += 1;
    return person;
  }

  /** What only this one has brought, and no longer says. */
  #clear(person: Person, bringer: string, said: string[]): void {
    for (const [value, bringers] of person.has) {
      if (said.includes(value)) continue;
      bringers.delete(bringer);
      if (bringers.size > 0) continue;
      person.has.delete(value);
      if (this.owners.get(value) === person) this.owners.delete(value);
    }
  }

  isShared(person: Person, value: string): boolean {
    return this.owners.get(value) !== person;
  }
}

export class Person {
  readonly accounts: string[] = [];
  /** Its e-mails and phones, and who has told each. */
  readonly has = new Map<string, Set<string>>();
  orders = 0;
  isNamed = false;

  get isVisitor(): boolean {
    return this.has.size === 0 && this.orders === 0 && !this.isNamed;
  }

  get isOnlyNamed(): boolean {
    return this.has.size === 0 && this.orders === 0 && this.isNamed;
  }

  /** Whether one of these is a second account in a shop, where none is the one that is known. */
  hasOther(names: string[]): boolean {
    const shops = new Set(names.map((one) => one.split('/')[0]));
    return [...shops].some((shop) => {
      const own = this.accounts.filter((one) => one.startsWith(`${shop}/`));
      return own.length > 0 && !own.some((one) => names.includes(one));
    });
  }
}
