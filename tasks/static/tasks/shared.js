// A reader's page follows the writer's changes: the browser asks whether its copy is still current.

const OFTEN = 3000; // milliseconds between two questions, while the page is visible

let asking = false;

setInterval(refresh, OFTEN);
addEventListener("focus", refresh);
document.addEventListener("visibilitychange", refresh);

async function refresh() {
  if (asking || document.hidden) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { cache: "no-cache" });
    if (answer.status === 404) location.reload(); // it is no longer shared
    if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html"));
  } catch {
    // No connection: the next question may reach the server.
  } finally {
    asking = false;
  }
}

function show(page) {
  document.getElementById("origin").replaceWith(page.getElementById("origin"));
  const [list, newList] = [document, page].map((each) => each.getElementById("list"));
  const [fold, newFold] = [list, newList].map((each) => each.querySelector("#fold"));
  if (fold && newFold) newFold.open = fold.open;
  if (list.innerHTML === newList.innerHTML) return;
  list.replaceChildren(...newList.childNodes);
  document.title = page.title;
}
