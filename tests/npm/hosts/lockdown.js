await import("ses");

globalThis.lockdown();
