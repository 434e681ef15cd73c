// Light or dark: like the system, unless the reader has chosen. Runs before the first paint.

const root = document.documentElement;
const system = matchMedia("(prefers-color-scheme: dark)");

root.classList.add("js");
show(stored());

document.addEventListener("click", (event) => {
  if (!event.target.closest(".theme")) return;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : system.matches;
  const chosen = dark ? "light" : "dark";
  // If the choice equals the system's theme, the page follows the system again.
  const follow = (chosen === "dark") === system.matches;
  store(follow ? null : chosen);
  show(follow ? null : chosen);
});

addEventListener("storage", () => show(stored()));

function show(theme) {
  if (theme === "light" || theme === "dark") root.dataset.theme = theme;
  else delete root.dataset.theme;
  // The browser's own bar has the colour of the page's.
  for (const colour of document.querySelectorAll("meta[name=theme-color]")) {
    const itsTheme = colour.dataset.scheme;
    colour.media = root.dataset.theme
      ? root.dataset.theme === itsTheme ? "all" : "not all"
      : `(prefers-color-scheme: ${itsTheme})`;
  }
}

// A browser that stores nothing throws an error.

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
