// A picture before and after, with a divider that the mouse, a finger and the arrow keys move.
const page = (window.lightendiff ??= {});
const find = (name) => element.querySelector(`.ld-${name}`);
const figure = find("compare"), before = find("before"), after = find("after"), handle = find("handle");
const stage = find("stage"), text = find("text"), download = find("download");
let value = null;

// The restored picture can be seen and downloaded while it is there and the settings are those that it was made with.
function show() {
  const fits = Boolean(value?.after) && (!value.settings || !page.fits || page.fits(value.settings));
  for (const each of [after, handle]) each.hidden = !fits;
  stage.classList.toggle("ld-both", fits);
  figure.setAttribute("aria-busy", String(!fits));
  const ready = fits && value.file;
  download.hidden = props.place !== "photo"; // several are downloaded together
  download.setAttribute("aria-disabled", String(!ready));
  download.removeAttribute("href");
  if (ready) {
    download.href = value.file.url;
    download.download = value.name;
  }
  text.textContent = fits ? value.text ?? "" : "";
}

function split() {
  stage.style.setProperty("--split", `${handle.value}%`);
  handle.setAttribute("aria-valuetext", `${handle.value} % before, ${100 - handle.value} % restored`);
}

async function change(given) {
  const mine = (value = given);
  figure.hidden = !value?.before;
  if (figure.hidden) {
    for (const image of [before, after]) image.removeAttribute("src");
    return;
  }
  // Decoded first, so that the old picture stays until the new one can be seen.
  await Promise.all([value.before, value.after].map(async (file) => {
    if (!file) return;
    const image = new Image();
    image.src = file.url;
    await image.decode().catch(() => {});
  }));
  if (mine !== value) return;
  before.src = value.before.url;
  before.alt = `${value.source}, before`;
  if (value.after) after.src = value.after.url;
  else after.removeAttribute("src");
  after.alt = `${value.source}, restored`;
  show();
}

handle.addEventListener("input", split);
find("full").addEventListener("click", () => (document.fullscreenElement ? document.exitFullscreen() : stage.requestFullscreen()));
(page.comparisons ??= []).push(show);
split();
(page.compare ??= {})[props.place] = change;
watch("value", () => change(props.value));
if (props.value) change(props.value);
