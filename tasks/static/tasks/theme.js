// Light or dark: as the reader's system, unless they chose. Runs before anything is painted.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

root.classList.add("js");
show(stored());

document.addEventListener("click", (event) => {
  if (!event.target.closest(".theme")) return;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const chosen = dark ? "light" : "dark";
  // Who chooses what the system says follows it again.
  const follow = (chosen === "dark") === system.matches;
  store(follow ? null : chosen);
  show(follow ? null : chosen);
});

addEventListener("storage", () => show(stored()));

function show(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
}

// Browsers that keep nothing throw.

function stored() {
  try {
    return localStorage.getItem("theme");
  } catch {
    return null;
  }
}

function store(theme) {
  try {
    if (theme) localStorage.setItem("theme", theme);
    else localStorage.removeItem("theme");
  } catch {}
}
