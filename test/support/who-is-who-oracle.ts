/** Who owns what after a sequence of messages: the rules of 'Who is who', told anew. It shares no code with the service. */

export interface Message {
  /** An order; a visit of a site; a customer document. */
  kind: 'order' | 'visit' | 'document';
  source: string;
  account?: string | undefined;
  email?: string | undefined;
  phone?: string | undefined;
}

export class People {
  readonly accounts = new Map<string, Person>();
  readonly owners = new Map<string, Person>();
  readonly all = new Set<Person>();

  /** @returns whose message it is, or null for one that cannot be */
  take({ kind, source, account, email, phone }: Message): Person | null {
    const name = account && `${source}/${account}`;
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
      const isOther = name && found.accounts.some((one) => one.startsWith(`${source}/`));
      if (!isOther) person = found;
    }
    person ??= new Person();
    this.all.add(person);
    if (name && !this.accounts.has(name)) {
      this.accounts.set(name, person);
      person.accounts.push(name);
    }
    for (const value of [email, phone]) {
      if (!value || person.has.has(value)) continue;
      if (!this.owners.has(value)) this.owners.set(value, person);
      person.has.add(value);
    }
    if (kind === 'order') person.orders += 1;
    return person;
  }

  isShared(person: Person, value: string): boolean {
    return this.owners.get(value) !== person;
  }
}

export class Person {
  readonly accounts: string[] = [];
  readonly has = new Set<string>();
  orders = 0;

  get isVisitor(): boolean {
    return this.has.size === 0 && this.orders === 0;
  }
}
