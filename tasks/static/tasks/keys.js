// Keyboard shortcuts; "?" shows them.

const help = document.getElementById("help");
const list = document.getElementById("list");

document.getElementById("keys").addEventListener("click", () => help.showModal());

const KEYS = {
  n: () => focus(document.getElementById("id_name")),
  "/": () => focus(document.getElementById("id_q")),
  "?": () => help.showModal(),
  j: () => step(1),
  k: () => step(-1),
  x: () => row()?.querySelector(".check")?.click(),
  Delete: () => row()?.querySelector(".delete")?.click(),
  z: () => document.dispatchEvent(new Event("list:undo")),
};

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && event.target.id === "id_name") list.focus();
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.defaultPrevented || typing || help.open || event.altKey) return;
  if ((event.ctrlKey || event.metaKey) && event.key !== "z") return;
  if (!Object.hasOwn(KEYS, event.key)) return;
  event.preventDefault();
  if (event.repeat && !"jk".includes(event.key)) return; // a key that is held
  KEYS[event.key]();
});

function row() {
  return document.activeElement.closest(".row:not(.editing)");
}

function step(by) {
  const rows = [...document.querySelectorAll("#list .row:not(.editing)")].filter((each) => each.checkVisibility());
  const next = rows[row() ? rows.indexOf(row()) + by : 0];
  next?.querySelector(".name").focus();
}

function focus(input) {
  input.focus();
  input.select();
}
