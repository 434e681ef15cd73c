// Ordering by hand: drag a row by its grip, with mouse, pen or finger, or press Alt and an arrow.

const list = document.getElementById("list");
const EDGE = 64; // pixels from the window's edges, where dragging scrolls
const SPEED = 12; // pixels a frame

let drag = null;

list.addEventListener("keydown", (event) => {
  const step = { ArrowUp: "up", ArrowDown: "down" }[event.key];
  const row = event.target.closest(".row:not(.editing)");
  if (!step || !event.altKey || !row || row.closest(".by-due")) return;
  event.preventDefault();
  const control = document.activeElement;
  const next = step === "up" ? row.previousElementSibling : row.nextElementSibling;
  if (step === "up") next?.before(row);
  else next?.after(row);
  control.focus();
  post(row, "step", step);
});

list.addEventListener("pointerdown", (event) => {
  const row = event.target.closest(".grip")?.closest(".row");
  if (!row || event.button || drag || row.closest(".by-due")) return;
  event.preventDefault();
  const rows = [...row.parentNode.querySelectorAll(".row")];
  const from = rows.indexOf(row);
  const boxes = rows.map((each) => each.getBoundingClientRect());
  const middles = boxes.map((box) => box.top + box.height / 2 + scrollY);
  drag = { row, rows, from, to: from, middles, height: boxes[from].height };
  drag.start = event.clientY + scrollY;
  drag.pointer = event.pointerId;
  drag.y = event.clientY;
  row.classList.add("dragging");
  requestAnimationFrame(scroll);
});

document.addEventListener("pointermove", (event) => {
  if (event.pointerId !== drag?.pointer) return;
  drag.y = event.clientY;
  place();
});

document.addEventListener("pointerup", (event) => {
  if (event.pointerId !== drag?.pointer) return;
  const { row, rows, from, to } = drag;
  stop();
  if (to === from) return;
  if (to < from) rows[to].before(row);
  else rows[to].after(row);
  const above = row.previousElementSibling;
  post(row, above ? "below" : "above", (above ?? row.nextElementSibling).id.replace("task-", ""));
});

document.addEventListener("pointercancel", stop);
document.addEventListener("list:leaving", stop);
document.addEventListener("keydown", (event) => event.key === "Escape" && stop());

/** Draw the row at the pointer, and move the other rows out of its way. */
function place() {
  const { row, rows, from, middles, height } = drag;
  const offset = drag.y + scrollY - drag.start;
  const middle = middles[from] + offset;
  drag.to = middles.filter((other, index) => index !== from && other < middle).length;
  row.style.translate = `0 ${offset}px`;
  rows.forEach((other, index) => {
    if (other === row) return;
    const up = index > from && index <= drag.to;
    const down = index < from && index >= drag.to;
    other.style.translate = up ? `0 ${-height}px` : down ? `0 ${height}px` : "";
  });
}

function scroll() {
  if (!drag) return;
  const by = drag.y < EDGE ? -SPEED : drag.y > innerHeight - EDGE ? SPEED : 0;
  if (by) {
    scrollBy({ top: by, behavior: "instant" });
    place();
  }
  requestAnimationFrame(scroll);
}

function stop() {
  if (!drag) return;
  for (const row of drag.rows) row.style.translate = "";
  drag.row.classList.remove("dragging");
  drag = null;
}

function post(row, name, value) {
  const form = document.getElementById("act");
  const button = document.createElement("button");
  button.hidden = true;
  button.setAttribute("form", form.id);
  button.formAction = row.querySelector(".delete").formAction.replace("/delete/", "/move/");
  Object.assign(button, { name, value });
  row.append(button);
  form.requestSubmit(button);
  button.remove();
}
