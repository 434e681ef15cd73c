// The page "How this works" shows what is stored now: it asks again every few seconds while it is
// seen, until the reader pauses that.

const EVERY = 3000; // milliseconds
const button = document.getElementById("pause");
let paused = false;

button.hidden = false;
button.addEventListener("click", () => {
  paused = !paused;
  button.textContent = paused ? "Go on" : "Pause";
});
setInterval(renew, EVERY);

async function renew() {
  const part = document.getElementById("live");
  // What the reader has selected or focused stays.
  if (paused || document.hidden || part.contains(document.activeElement)) return;
  if (String(getSelection())) return;
  try {
    const response = await fetch(location.pathname);
    if (!response.ok || response.redirected) return;
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    const fresh = page.getElementById("live");
    if (fresh && !paused) part.replaceWith(fresh);
  } catch {
    // Offline: the time that the part shows tells how old it is.
  }
}
