"""How words that training never saw are read: as the nearest word that the model knows, or not at all.

    python bench/words.py [--at-least COSINE] [--wrong]

A model of a clothes shop is played by a list of the words that its training would hold. Each pair gives a word that is
not among them and those that would be right for it. Printed are, by group, how many pairs are read rightly, read
otherwise and dropped; where words are only left out (`model.text_encoder.unknown=skip`), all are dropped. Below it
stands the same for words that must be dropped because nothing in the shop means the like. Where the list of
docs/make_word_vectors.py explains a word by a plainer one, the pair shows no more than that the table keeps it; the
others are read by the vectors alone, or as another form or spelling of a known word.

With `--wrong`, each pair that is not read rightly is printed.
"""

import argparse
from collections import Counter

from safetensors import safe_open

from itma.data import word_vectors
from itma.data.tokenizer import Tokenizer

KNOWN = """
a an and are as at but by change colour comes give has have in instead into is it just like make more not of on one
plain rather take than that the this turn want with without no i would be to for from something same similar but less
bit much very other another lighter darker longer shorter bigger smaller brighter
black white blue brown grey red green navy purple pink silver beige yellow gold maroon orange olive cream charcoal
khaki peach teal tan magenta lavender mustard turquoise copper bronze rust burgundy mauve nude multicoloured metallic
dark light bright pale colourful
men women boys girls unisex mens womens kids
tshirt shirt top blouse sweater sweatshirt jacket blazer waistcoat dress skirt trousers jeans shorts leggings capris
trackpants track pants kurta kurti tunic saree dupatta salwar churidar jumpsuit bra briefs boxers nightdress pyjamas
swimsuit suit tracksuit coat
shoes heels flats sandals flip flops boots sneakers loafers slippers pumps casual formal sports
handbag backpack wallet clutch duffel bag sling tote belt tie cap hat scarf stole socks gloves cufflinks suspenders
watch sunglasses earrings necklace ring bracelet bangle pendant chain jewellery anklet brooch
perfume lipstick umbrella
sleeves sleeve sleeveless short long threequarter collar neck round vneck polo scoop boat high square strapless halter
hooded hood off shoulder
striped stripes checked checks printed print solid patterned pattern floral graphic dots embroidered embellished
textured washed geometric logo
cotton leather denim silk wool linen polyester canvas suede lace mesh metal rubber velvet knitted
slim loose skinny regular fit tight relaxed straight flared cropped oversized
knee ankle mini midi maxi length waist
button buttons zip pocket pockets buckle strap laces hem
casual party ethnic sporty elegant smart summer winter running
small large big wide narrow pointed heel
"""
"""Words of the sentences that a model of a shop was taught with."""

PAIRS = {
    "colour": """
crimson=red,maroon,burgundy scarlet=red cherry=red,maroon,burgundy ruby=red,maroon,burgundy azure=blue cobalt=blue
emerald=green lime=green mint=green violet=purple lilac=lavender,purple,mauve fuchsia=magenta,pink ebony=black
ivory=cream,white,beige amber=orange,yellow,gold ochre=mustard,yellow,rust,orange,brown gray=grey ash=grey
chocolate=brown coffee=brown aqua=turquoise,teal,blue cyan=turquoise,teal,blue indigo=blue,navy,purple
plum=purple,maroon,burgundy,mauve coral=peach,orange,pink salmon=peach,pink,orange golden=gold silvery=silver
sapphire=blue jade=green tangerine=orange lemon=yellow rose=pink reddish=red bluish=blue wine=burgundy,maroon,red
camel=tan,beige,brown taupe=beige,brown,grey,tan sand=beige,tan snow=white jet=black multicolored=multicoloured
multicolour=multicoloured,colourful blackish=black vermilion=red,orange periwinkle=lavender,blue,purple
chartreuse=green,yellow aubergine=purple,burgundy,maroon apricot=peach,orange
""",
    "garment": """
jumper=sweater pullover=sweater cardigan=sweater tee=tshirt tees=tshirt hoodie=sweatshirt,hooded
chinos=trousers,pants
slacks=trousers,pants joggers=trackpants,tracksuit,pants,sweatshirt parka=jacket,coat anorak=jacket,coat
windbreaker=jacket,coat raincoat=coat,jacket overcoat=coat gown=dress frock=dress sundress=dress sari=saree
tanktop=top,vest,sleeveless,tshirt camisole=top,blouse,bra vest=waistcoat,top gilet=waistcoat,jacket
knickers=briefs panties=briefs underpants=briefs,boxers pajamas=pyjamas nightgown=nightdress nightie=nightdress
bikini=swimsuit dungarees=jumpsuit,trousers,jeans overalls=jumpsuit,trousers romper=jumpsuit playsuit=jumpsuit
miniskirt=skirt,mini tights=leggings jeggings=leggings,jeans culottes=trousers,capris,skirt,pants
bermudas=shorts kameez=kurta,kurti,salwar,tunic tuxedo=suit,blazer singlet=top,tshirt,vest,sleeveless
turtleneck=sweater,neck,collar,high poncho=stole,coat,sweater,jacket sweatpants=trackpants,pants,tracksuit
jerkin=jacket,waistcoat denims=jeans,denim lehenga=saree,skirt,dupatta,salwar,kurta,churidar t-shirts=tshirt
swimwear=swimsuit lingerie=bra,briefs,nightdress
""",
    "shoes": """
trainers=sneakers,shoes plimsolls=sneakers,shoes,pumps moccasins=loafers stilettos=heels,pumps
stiletto=heels,pumps,heel
wellingtons=boots thongs=flip,flops,sandals brogues=shoes,formal,loafers ballerinas=flats,pumps
espadrilles=sandals,flats,loafers,shoes clogs=slippers,sandals,shoes mules=slippers,sandals,heels
footwear=shoes oxfords=shoes,formal,loafers wedges=heels,sandals sandal=sandals sneaker=sneakers boot=boots
slipper=slippers
""",
    "bags and accessories": """
rucksack=backpack knapsack=backpack satchel=bag,backpack,sling,handbag purse=handbag,wallet,clutch
holdall=duffel,bag pocketbook=handbag,wallet messenger=sling,bag luggage=bag,duffel,backpack beanie=cap,hat
muffler=scarf,stole shawl=stole,scarf,dupatta mittens=gloves necktie=tie braces=suspenders spectacles=sunglasses
shades=sunglasses eyewear=sunglasses bandana=scarf,cap stockings=socks,leggings billfold=wallet brolly=umbrella
fedora=hat,cap parasol=umbrella bags=bag headscarf=scarf,stole,dupatta timepiece=watch wristwatch=watch
fragrance=perfume cologne=perfume wristband=bracelet,strap choker=necklace locket=pendant,necklace
jewelry=jewellery jewels=jewellery bangles=bangle studs=earrings hoops=earrings,ring amulet=pendant,necklace
""",
    "sleeves and neck": """
sleeved=sleeves,sleeve armless=sleeveless,strapless lengthy=long collared=collar neckline=neck
collarless=collar,neck
crewneck=round,neck v-necked=vneck,neck lapel=collar strappy=strap,strapless longsleeved=long,sleeves,sleeve
long-sleeved=long,sleeves,sleeve short-sleeved=short,sleeves,sleeve full-sleeve=sleeve,sleeves,long
round-neck=round,neck high-necked=high,neck square-necked=square,neck collars=collar
""",
    "pattern": """
plaid=checked,checks tartan=checked,checks gingham=checked,checks chequered=checked,checks checkered=checked,checks
flowery=floral flowered=floral flowers=floral dotted=dots spotted=dots polka-dot=dots,polo spots=dots
pinstripe=striped,stripes pinstriped=striped,stripes stripe=striped,stripes stripy=striped,stripes
unpatterned=plain,solid
embroidery=embroidered prints=print,printed motif=pattern,print,patterned,floral,logo
sequinned=embellished,embroidered
bejewelled=embellished,jewellery checkerboard=checked,checks houndstooth=checked,checks,patterned
herringbone=patterned,pattern,striped,textured
emblem=logo
""",
    "length and fit": """
knee-length=knee,length ankle-length=ankle,length baggy=loose tight-fitting=tight,fit,slim snug=tight,slim
slender=slim roomy=loose,relaxed,large,wide boxy=loose,oversized,square,straight oversize=oversized
lengthier=longer,long
shortened=cropped,short,shorter tiny=small huge=large,big,oversized broad=wide fitted=fit,tight,slim
bootcut=flared,straight flare=flared stretchy=tight,skinny,loose
""",
    "material": """
corduroy=denim,velvet,suede,knitted,textured,cotton woollen=wool,knitted woolen=wool,knitted cashmere=wool,silk
satin=silk,velvet nylon=polyester chiffon=silk,lace,velvet fleece=wool,knitted,sweatshirt leatherette=leather
flannel=wool,cotton,linen,velvet,denim tweed=wool,linen,denim knit=knitted crochet=knitted,lace,embroidered
steel=metal metallic-looking=metallic viscose=polyester,silk,cotton patent=leather faux-leather=leather
woolly=wool,knitted spandex=polyester,leggings,tight hide=leather
""",
    "who and when": """
ladies=women,womens gents=men,mens gentlemen=men,mens female=women,womens male=men,mens woman=women,womens
man=men,mens
girl=girls boy=boys children=kids toddler=kids teenager=kids,boys,girls lady=women,womens guys=men,boys,mens
infant=kids gentleman=men,mens schoolgirl=girls,kids festive=party,ethnic,colourful athletic=sporty,sports
stylish=elegant,smart classy=elegant,smart traditional=ethnic,formal,casual summery=summer wintry=winter
jogging=running workout=running,sporty,sports,tracksuit office=formal,smart,casual
""",
    "spelling": """
swetshirt=sweatshirt jaket=jacket leggins=leggings trowsers=trousers purpel=purple yelow=yellow burgandy=burgundy
earings=earrings neckless=necklace sandles=sandals braclet=bracelet turqoise=turquoise strippes=striped,stripes
bagpack=backpack colored=colourful,colour color=colour sunglases=sunglasses hankbag=handbag
""",
}
"""Group → words that training never saw, each with those that would be right for it."""

FAR = """
husband wife holiday birthday kitchen computer elephant banana river mountain government football telephone guitar
music bread london germany monday december doctor engine hospital university president money price cheap expensive
delivery discount shop website please thanks hello maybe really think know because although during every whatever
find show looking need buy send photo image email year today tomorrow idea problem reason question story movie
book pizza dinosaur volcano algebra quantum parliament bacteria galaxy tractor bridge airport keyboard nephew
neighbour because whose where quickly
"""
"""Words of which nothing in the shop means the like."""

UNLISTED = """
tomato=red cornflower=blue lapis=blue pewter=grey,silver wheat=beige,yellow,tan ink=blue,black,navy
bottlegreen=green flame=orange,red straw=beige,yellow butter=yellow,cream brunette=brown blonde=yellow,gold,beige
peachy=peach rosy=pink turqouise=turquoise magnolia=cream,white,pink mahagony=brown cranberry=red,burgundy,maroon
kaftan=tunic,dress,kurta undershirt=tshirt,top,shirt,bra cloak=coat,stole,jacket kilt=skirt breeches=trousers,pants
pantaloons=trousers,pants negligee=nightdress,bra petticoat=skirt,nightdress corset=bra trackies=trackpants
swimsuits=swimsuit robes=dress,coat,nightdress,suit,gown tunics=tunic coats=coat jackets=jacket tops=top
vestments=dress jodhpurs=trousers,pants,leggings sarong=skirt,saree tux=suit,blazer galoshes=boots,shoes
footgear=shoes booty=boots sandles=sandals heeled=heels,heel tennis-shoe=shoes,sneakers wellington=boots
tote-bag=tote,bag valise=bag,duffel briefcase=bag,handbag pouch=bag,wallet,pocket,clutch turban=hat,scarf,cap
visor=cap,hat monocle=sunglasses clock=watch earing=earrings tiara=jewellery ringlet=ring cufflink=cufflinks
cuff=cufflinks,sleeve,sleeves hatband=hat,cap armband=bracelet hosiery=socks,leggings halterneck=halter,neck
button-down=button,buttons ruffled=embellished,textured zigzag=striped,patterned,geometric squared=square,checked
logos=logo printing=print,printed camouflage=patterned,pattern,print paisley=patterned,floral,pattern,print
leafy=floral,green massive=large,big,oversized petite=small,slim mini-skirt=mini,skirt ankles=ankle
lanky=slim,skinny,long floor-length=length,maxi gabardine=wool,cotton,polyester jute=cotton,canvas cottony=cotton
plastic=rubber iron=metal alloy=metal brass=bronze,copper,metal,gold mens-wear=mens kidswear=kids nursery=kids
wedding=party,ethnic,formal posh=elegant,smart sophisticated=elegant,smart playful=casual,colourful
gymnastics=sports,sporty marathon=running business=formal,smart,suit cozy=casual,relaxed comfy=casual,relaxed
"""
"""Pairs whose words are not explained by a plain one when the table is made; the others in `PAIRS` mostly are."""


def read(reader: Tokenizer, word: str) -> list[str]:
    """What stands for a word: the words it is read as."""
    return reader.read_as(word).get(word, "").split()


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--at-least", type=float, default=word_vectors.AT_LEAST, help="cosine of a word that is near")
    options.add_argument("--wrong", action="store_true", help="print what is not read rightly")
    args = options.parse_args()
    word_vectors.AT_LEAST = args.at_least
    words = KNOWN.split()  # common ones of a kind first, as training would count them
    sentences = [" ".join(words[:end]) for end in range(1, len(words) + 1)]
    reader = Tokenizer.fit(sentences, max_words=10**6, nearest=True)
    print(f"{len(reader) - 2} known words; near from a cosine of {args.at_least}")
    print(f"\n{'group':22} {'pairs':>6} {'right':>6} {'other':>6} {'dropped':>8}")
    with safe_open(word_vectors.PATH, "np") as file:
        explained = set(file.metadata()["explained"].split())
    total: Counter[str] = Counter()
    for group, text in {**PAIRS, "further words": UNLISTED}.items():
        kinds: Counter[str] = Counter()
        for pair in text.split():
            word, _, right = pair.partition("=")
            if word_vectors.key(word) in reader.vocabulary:
                raise SystemExit(f"{word!r} is known; it says nothing about words that are not")
            words = read(reader, word)
            kind = "dropped" if not words else "right" if set(words) <= set(right.split(",")) else "other"
            listed = "explained" if word_vectors.key(word) in explained else "by vectors alone"
            kinds += Counter([kind, "pairs", f"{listed} {kind}"])
            if args.wrong and kind != "right":
                print(f"    {word} → {' '.join(words) or 'dropped'} (right: {right})")
        print(f"{group:22} {kinds['pairs']:6} {kinds['right']:6} {kinds['other']:6} {kinds['dropped']:8}")
        total += kinds
    print(f"{'all':22} {total['pairs']:6} {total['right']:6} {total['other']:6} {total['dropped']:8}")
    for part in ("explained", "by vectors alone"):
        counts = [total[f"{part} {kind}"] for kind in ("right", "other", "dropped")]
        print(f"  {part:20} {sum(counts):6} {counts[0]:6} {counts[1]:6} {counts[2]:8}")
    far = {word: read(reader, word) for word in dict.fromkeys(FAR.split()) if word not in reader.vocabulary}
    print(f"\n{len(far)} words of which nothing means the like: {sum(not words for words in far.values())} are dropped")
    if args.wrong:
        print("    " + ", ".join(f"{word} → {' '.join(words)}" for word, words in far.items() if words))


if __name__ == "__main__":
    main()
