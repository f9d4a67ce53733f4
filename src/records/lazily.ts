/** Makes a value at its first use: what needs every definition cannot be made while they are still being loaded. */
export function lazily<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
