// A chosen file is read into the field, so that one sees what is imported.

const file = document.getElementById("file");

file.addEventListener("change", async () => {
  if (file.files.length) document.getElementById("text").value = await file.files[0].text();
});
