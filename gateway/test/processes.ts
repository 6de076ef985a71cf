// What tests ask about processes that they started.

/** Whether there is such a process; one that ended and was not yet waited for still is. */
export function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
