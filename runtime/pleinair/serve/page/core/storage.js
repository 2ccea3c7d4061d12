/** Small things kept in this browser; where it forbids that, they last as long as the page is open. */

const unkept = new Map();

/** What is kept under a name; null where nothing is, or nothing that can be read. */
export function kept(name) {
  try {
    return JSON.parse(localStorage.getItem(name));
  } catch {
    return unkept.get(name) ?? null;
  }
}

export function keep(name, value) {
  try {
    localStorage.setItem(name, JSON.stringify(value));
  } catch {
    unkept.set(name, value);
  }
}

export function forget(name) {
  unkept.delete(name);
  try {
    localStorage.removeItem(name);
  } catch {
    // where nothing may be kept, nothing is
  }
}

/** The names that begin so. */
export function keptNames(start) {
  try {
    return Object.keys(localStorage).filter((name) => name.startsWith(start));
  } catch {
    return [];
  }
}
