/** Made when it is first asked for: what needs every definition cannot be made while these are still being loaded. */
export function lazily<T>(make: () => T): () => T {
  let made: { value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}
